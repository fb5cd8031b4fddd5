"""The nouns that are ours under /api/v1."""

from rest_framework.routers import SimpleRouter

from .views import exports, jobs, projects, samples, tasks

router = SimpleRouter(trailing_slash=False)
router.register("projects", projects.ProjectViews, basename="projects")
router.register("labels", projects.LabelViews, basename="labels")
router.register("tasks", tasks.TaskViews, basename="tasks")
router.register("annotations", tasks.AnnotationViews, basename="annotations")
router.register("predictions", tasks.PredictionViews, basename="predictions")
router.register("samples", samples.SampleViews, basename="samples")
router.register("batches", exports.BatchViews, basename="batches")
router.register("finetunes", exports.FineTuneViews, basename="finetunes")
router.register("models", exports.ModelViews, basename="models")
router.register("jobs", jobs.JobViews, basename="jobs")

urlpatterns = router.urls
