"""The admin's page of roles: what each may do, and what the contracts call it."""

from labelhub.accounts.roles import POWERS, Power, Role
from labelhub.admin import page
from labelhub.api.words import WORDS


def roles(request):
    return page(
        request,
        "hub/roles.html",
        title="Roles",
        roles=Role.labels,
        powers=[(power.label, [power in POWERS[role] for role in Role]) for power in Power],
        words=[(row, [role in row.roles for role in Role]) for row in WORDS],
    )
