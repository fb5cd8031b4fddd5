"""The contract's paths. A client may write PROJECT%2FNAME: it is decoded before it comes here."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from .views import datasets, labellings, projects, sources


class Segment(StringConverter):
    """What stands between two slashes, but for a NUL, which no database takes."""

    regex = r"[^/\0]+"


register_converter(Segment, "segment")

DATASET = "datasets/<segment:project>/<segment:name>"
SOURCE = "sources/<segment:project>/<segment:name>"

shared = [
    path("datasets", datasets.Datasets.as_view()),
    path("datasets/id:<segment:uid>", datasets.DatasetById.as_view()),
    path("datasets/<segment:project>", datasets.DatasetsOfProject.as_view()),
    path("datasets/<segment:project>/model-tags", datasets.DatasetOrTags.as_view(), {"name": "model-tags"}),
    path(DATASET, datasets.DatasetByName.as_view()),
    path(f"{DATASET}/model-tags", datasets.ModelTags.as_view()),
    path(f"{DATASET}/labels/<segment:group>", datasets.Labels.as_view()),
    path(f"{DATASET}/export", labellings.Export.as_view()),
    path(f"{DATASET}/query", labellings.Query.as_view()),
    path(f"{DATASET}/statistics", labellings.Statistics.as_view()),
    path(f"{DATASET}/labellings", labellings.Labellings.as_view()),
    path(f"{DATASET}/labellings/<segment:uid>", labellings.LabellingOfComment.as_view()),
    path(f"{DATASET}/sync-annotations", labellings.SyncAnnotations.as_view()),
    path("sources", sources.Sources.as_view()),
    path("sources/id:<segment:uid>", sources.SourceById.as_view()),
    path("sources/<segment:project>", sources.SourcesOfProject.as_view()),
    path(SOURCE, sources.SourceByName.as_view()),
    path(f"{SOURCE}/comments", sources.CommentsOfSource.as_view()),
    path(f"{SOURCE}/messages", sources.CommentsOfSource.as_view()),
    path(f"{SOURCE}/comments/<segment:comment>", sources.OneComment.as_view()),
    path(f"{SOURCE}/sync", sources.Sync.as_view()),
    path(f"{SOURCE}/statistics", sources.SourceStatistics.as_view()),
]

# The clients take some of these routes from the one root and some from the other; both lead to the same views.
public = shared
private = [
    *shared,
    path("buckets", sources.Buckets.as_view()),
    path("users", projects.Users.as_view()),
    path("users/<segment:uid>", projects.OneUser.as_view()),
    path("projects", projects.Projects.as_view()),
    path("projects/<segment:project>", projects.OneProject.as_view()),
]
auth = [
    path("user", projects.CurrentUser.as_view()),
    path("refresh-user-permissions", projects.RefreshPermissions.as_view()),
]
