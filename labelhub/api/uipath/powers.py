"""What the contract's permissions are in ours, read at the door, and back again in /auth/user."""

from labelhub.accounts.roles import POWERS, Role
from labelhub.api.words import UIPATH, powers

PERMISSIONS = powers(UIPATH)


def permissions_of(role: Role) -> list[str]:
    """The contract's names for what `role` may do."""
    return [name for name, power in PERMISSIONS.items() if power in POWERS[role]]
