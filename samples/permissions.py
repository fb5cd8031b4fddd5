"""Who may do what: Django's permission names answered from project roles. Membership is the only grant there is."""

import rules

from labelhub.accounts.roles import Power

from .errors import NotAllowed
from .models import Project

NEEDS = {
    "samples.view_project": Power.VIEW,
    "samples.change_project": Power.MANAGE,
    "samples.view_label": Power.VIEW,
    "samples.add_label": Power.MANAGE,
    "samples.change_label": Power.MANAGE,
    "samples.delete_label": Power.MANAGE,
    "samples.view_membership": Power.VIEW,
    "samples.add_membership": Power.MANAGE,
    "samples.change_membership": Power.MANAGE,
    "samples.delete_membership": Power.MANAGE,
    "samples.view_source": Power.VIEW,
    "samples.add_source": Power.IMPORT,
    "samples.change_source": Power.MANAGE,
    "samples.view_dataset": Power.VIEW,
    "samples.add_dataset": Power.MANAGE,
    "samples.change_dataset": Power.MANAGE,
    "samples.view_task": Power.VIEW,
    "samples.annotate_task": Power.ANNOTATE,
    "samples.import_task": Power.IMPORT,
    "samples.view_annotation": Power.VIEW,
    "samples.view_prediction": Power.VIEW,
    "samples.view_doubt": Power.REVIEW,
    "samples.review_doubt": Power.REVIEW,
    "samples.view_sample": Power.VIEW,
    "samples.change_sample": Power.REVIEW,
    "samples.review_sample": Power.REVIEW,
}


def project_of(thing) -> Project | None:
    """The project a row belongs to, however far away it is kept."""
    if isinstance(thing, Project):
        return thing
    return getattr(thing, "project", None) or (thing.task.project if hasattr(thing, "task") else None)


def member_with(power: Power):
    """A predicate: the user holds `power` in the object's project, or, without an object, in any project."""

    @rules.predicate(f"member_with_{power}")
    def holds(user, thing=None):
        if not user.is_authenticated or not user.is_active:
            return False
        projects = Project.objects.where(user, power)
        if thing is None:
            return projects.exists()
        project = project_of(thing)
        return project is not None and projects.filter(pk=project.pk).exists()

    return holds


def require(user, power: Power, project: Project) -> None:
    """Pass where `user` holds `power` in `project`, else raise NotAllowed."""
    if not member_with(power)(user, project):
        raise NotAllowed(f"{user} may not {power.label} in {project.name}", power=power.value, project=project.name)


def register(needs: dict[str, Power]) -> None:
    for name, power in needs.items():
        rules.add_perm(name, member_with(power))


register(NEEDS)
rules.add_perm("samples.add_project", rules.is_staff)
for app in ("samples",):
    rules.add_perm(app, rules.is_staff)
