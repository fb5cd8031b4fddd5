"""What the contract's permissions are in ours: the one table, read from left to right at the door and back in /auth/user."""

from labelhub.accounts.roles import POWERS, Power, Role

PERMISSIONS = {
    # theirs                    ours              what it opens
    "voc-readonly": Power.VIEW,  # View labels: list and read datasets, statistics, query
    "voc": Power.MANAGE,  # Modify datasets: create one, define labels
    "datasets-admin": Power.MANAGE,  # Datasets admin: change, delete
    "datasets-export": Power.EXPORT,  # Export datasets
    "datasets-model-admin": Power.FINETUNE,  # Model admin: model tags
    "datasets-review": Power.ANNOTATE,  # Review and annotate: labellings, sync-annotations
    "sources-read": Power.VIEW,  # View sources and their comments
    "sources-admin": Power.MANAGE,  # Sources admin: create, change, delete; delete comments
    "sources-add-comments": Power.IMPORT,  # Edit messages: put and sync comments
    "users-read": Power.VIEW,
    "users-write": Power.MANAGE,
}


def permissions_of(role: Role) -> list[str]:
    """The contract's names for what `role` may do."""
    return [name for name, power in PERMISSIONS.items() if power in POWERS[role]]
