"""Who is asking, who else is there, and the projects they share."""

import json

from django.db.models import Prefetch, Q, QuerySet
from rest_framework.exceptions import NotFound, PermissionDenied, ValidationError

from labelhub.accounts.models import User
from labelhub.accounts.roles import Role
from labelhub.api.errors import Conflict
from labelhub.api.uipath import serializers, shapes
from labelhub.api.uipath.envelope import UiPathView, ok
from samples.errors import StillNeeded
from samples.models import Membership, Project
from samples.projects import create_project, update_project
from samples.removal import delete_project


class People(UiPathView):
    """The caller, and the members of the projects he can see."""

    def people(self) -> QuerySet[User]:
        memberships = Membership.objects.filter(project__in=self.projects())
        known = Q(pk=self.request.user.pk) | Q(pk__in=memberships.values("user"))
        rows = User.objects.all() if self.request.user.is_superuser else User.objects.filter(known)
        return rows.prefetch_related(Prefetch("memberships", memberships.select_related("project"))).order_by("pk")

    def shaped(self, people: QuerySet[User]) -> list[dict]:
        everywhere = None
        told = []
        for person in people:
            if person.is_superuser and everywhere is None:
                everywhere = dict.fromkeys(self.projects().values_list("name", flat=True), Role.MANAGER)
            roles = {membership.project.name: Role(membership.role) for membership in person.memberships.all()}
            told.append(shapes.user(person, everywhere if person.is_superuser and everywhere else roles))
        return told


class CurrentUser(People):
    def get(self, request):
        return ok(user=self.shaped(self.people().filter(pk=request.user.pk))[0])


class RefreshPermissions(UiPathView):
    """Permissions are looked up for every request: they are always fresh."""

    def post(self, request):
        self.read(serializers.Open)
        return ok(permissions_refreshed=True)


class Users(People):
    def get(self, request):
        return ok(users=self.shaped(self.people()))


class OneUser(People):
    def get(self, request, uid):
        found = self.shaped(self.people().filter(uid=uid))
        if not found:
            raise NotFound(f"No such user: {uid}")
        return ok(user=found[0])


class Projects(UiPathView):
    def get(self, request):
        return ok(projects=[shapes.project(row) for row in self.projects()])


class OneProject(People):
    needs = {"GET": "voc-readonly", "POST": "sources-admin", "DELETE": "sources-admin"}

    def get(self, request, project):
        return ok(project=shapes.project(self.project(project)))

    def put(self, request, project):
        """A new project of the type that fits this contract: several labels an item, one answer enough."""
        if not request.user.has_perm("samples.add_project"):
            raise PermissionDenied("Only staff may create projects.")
        asked = self.read(serializers.ProjectNew)
        wanted = set(asked.get("user_ids", ()))
        managers = list(self.people().filter(uid__in=wanted))
        strangers = wanted - {person.uid for person in managers}
        if strangers:
            raise ValidationError({"user_ids": [f"No such user: {sorted(strangers)[0]}"]})
        row = create_project(
            project,
            task_type="MULTI_LABEL",
            validations_needed=1,
            by=request.user,
            managers=managers,
            **serializers.given(asked["project"], "title", "description"),
        )
        return ok(project=shapes.project(row))

    def post(self, request, project):
        row = self.project(project)
        asked = self.read(serializers.ProjectUpdate)["project"]
        row = update_project(row, by=request.user, **serializers.given(asked, "title", "description"))
        return ok(project=shapes.project(row))

    def delete(self, request, project):
        row: Project = self.project(project)
        force = request.query_params.get("force", "false").lower() == "true"
        try:
            delete_project(row, by=request.user, with_contents=force)
        except StillNeeded as fact:
            if "held" not in fact.details:
                raise
            held = json.dumps(fact.details["held"])
            raise Conflict(f"Project contains child resources but force deletion was not requested: {held}") from fact
        return ok()
