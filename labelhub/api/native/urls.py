"""The nouns that are ours under /api/v1."""

from django.urls import URLPattern, URLResolver
from rest_framework.routers import SimpleRouter

from .views import doubts, exports, jobs, samples
from .views.projects import LabelViews, ProjectViews
from .views.tasks import AnnotationViews, PredictionViews, TaskViews


def paths(*, projects: type[ProjectViews], tasks: type[TaskViews]) -> list[URLPattern | URLResolver]:
    """All of them; `projects` and `tasks` are the views of those, whose addresses other rooms share."""
    router = SimpleRouter(trailing_slash=False)
    router.register("projects", projects, basename="projects")
    router.register("labels", LabelViews, basename="labels")
    router.register("tasks", tasks, basename="tasks")
    router.register("annotations", AnnotationViews, basename="annotations")
    router.register("predictions", PredictionViews, basename="predictions")
    router.register("doubts", doubts.DoubtViews, basename="doubts")
    router.register("samples", samples.SampleViews, basename="samples")
    router.register("batches", exports.BatchViews, basename="batches")
    router.register("finetunes", exports.FineTuneViews, basename="finetunes")
    router.register("models", exports.ModelViews, basename="models")
    router.register("jobs", jobs.JobViews, basename="jobs")
    return router.urls
