"""The one place where the admin's rows are cut down to the visitor's projects."""

from collections.abc import Mapping
from typing import Any

from django.http import Http404
from unfold.admin import TabularInline

from labelhub.accounts.roles import POWERS, Power, Role
from labelhub.admin import HubAdmin, ScopedChoices
from labelhub.long_lists import LongList
from samples.models import Membership, Project
from samples.permissions import NEEDS


def powers_of(request) -> frozenset[Power]:
    """What the visitor may do in at least one project; one query a request."""
    if not hasattr(request, "_hub_powers"):
        if request.user.is_superuser:
            request._hub_powers = frozenset(Power)
        else:
            roles = Membership.objects.filter(user=request.user.pk).order_by().values_list("role", flat=True).distinct()
            request._hub_powers = frozenset().union(*(POWERS[Role(role)] for role in roles))
    return request._hub_powers


def project_or_404(request, name: str, power: Power) -> Project:
    """The project called `name`, if the visitor holds `power` there."""
    project = Project.objects.where(request.user, power).filter(name=name).first()
    if project is None:
        raise Http404
    return project


class ScopedAdmin(HubAdmin):
    """A list of rows that belong to projects: the visitor's own only, in lists, forms, filters and look-ups alike.

    `project_lookup` leads from a row to its project, for models whose queryset has no `visible_to`; `needs` names the
    power behind each permission. A row stays in its project once it is made.
    """

    project_lookup = "project"
    needs: Mapping[str, Power] = NEEDS

    def get_queryset(self, request):
        rows = super().get_queryset(request)
        if request.user.is_superuser:
            return rows
        if hasattr(rows, "visible_to"):
            return rows.visible_to(request.user)
        power = self.power_behind("view") or Power.VIEW
        return rows.filter(**{f"{self.project_lookup}__in": Project.objects.where(request.user, power)})

    def power_behind(self, action: str) -> Power | None:
        return self.needs.get(f"{self.opts.app_label}.{action}_{self.opts.model_name}")

    def may(self, request, permission, obj=None):
        if obj is None and permission in self.needs:
            return self.needs[permission] in powers_of(request)
        return super().may(request, permission, obj)

    def choices_of(self, db_field, request):
        rows: Any = super().choices_of(db_field, request)
        if db_field.remote_field.model is Project and (power := self.power_behind("add")):
            return rows.where(request.user, power)
        return rows

    def get_readonly_fields(self, request, obj=None):
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "project"] if obj and self.project_lookup == "project" else fields


class LongScopedAdmin(LongList, ScopedAdmin):
    """The same for a table that may hold millions of rows."""

    def projects(self, request):
        return list(Project.objects.visible_to(request.user).values_list("pk", flat=True))


class ScopedInline(ScopedChoices, TabularInline):
    """Rows on the page of their project: whoever may change that project's, may change them."""

    extra = 0
    tab = True

    def allows(self, request, action, project) -> bool:
        if project is None:  # the page that makes a new project
            return True
        return request.user.has_perm(f"{self.opts.app_label}.{action}_{self.opts.model_name}", project)

    def has_view_permission(self, request, obj=None):
        return self.allows(request, "view", obj)

    def has_add_permission(self, request, obj=None):
        return self.allows(request, "add", obj)

    def has_change_permission(self, request, obj=None):
        return self.allows(request, "change", obj)

    def has_delete_permission(self, request, obj=None):
        return self.allows(request, "delete", obj)
