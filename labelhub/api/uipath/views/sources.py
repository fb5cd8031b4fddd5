"""Sources, and the comments in them: put, sync, list, read, delete, count."""

from rest_framework.exceptions import NotFound, ValidationError

from labelhub.api.uipath import serializers, shapes
from labelhub.api.uipath.comments import between, filtered, item_of, label_counts, of_source, page_of, with_answers
from labelhub.api.uipath.envelope import UiPathView, ok
from labelhub.sqlite import turn
from samples.datasets import create_source, update_source
from samples.models import Source, Task
from samples.removal import delete_source, delete_tasks
from samples.syncing import Synced, sync_tasks

FIELDS = ("title", "description")
KEPT = ("language", "should_translate", "bucket_id", "sensitive_properties", "email_transform_tag", "_kind")
MOST_DELETED = 128


def properties_in(asked) -> dict:
    kept = serializers.given(asked, *KEPT)
    if "_email_transform_tag" in asked:
        kept["email_transform_tag"] = asked["_email_transform_tag"]
    return kept


class Sources(UiPathView):
    def get(self, request):
        rows = Source.objects.filter(project__in=self.projects()).select_related("project")
        return ok(sources=[shapes.source(row) for row in rows])


class SourcesOfProject(UiPathView):
    needs = {"GET": "sources-read"}

    def get(self, request, project):
        rows = Source.objects.filter(project=self.project(project)).select_related("project")
        return ok(sources=[shapes.source(row) for row in rows])


class SourceByName(UiPathView):
    needs = {"GET": "sources-read", "PUT": "sources-admin", "POST": "sources-admin", "DELETE": "sources-admin"}

    def get(self, request, project, name):
        return ok(source=shapes.source(self.source(project, name)))

    def put(self, request, project, name):
        owner = self.project(project)
        asked = self.read(serializers.SourceBody)["source"]
        row = create_source(
            owner, name, by=request.user, properties=properties_in(asked), **serializers.given(asked, *FIELDS)
        )
        return ok(source=shapes.source(row))

    def post(self, request, project, name):
        row = self.source(project, name)
        asked = self.read(serializers.SourceBody)["source"]
        row = update_source(row, by=request.user, properties=properties_in(asked), **serializers.given(asked, *FIELDS))
        return ok(source=shapes.source(row))

    def delete(self, request, project, name):
        delete_source(self.source(project, name), by=request.user)
        return ok()


class SourceById(UiPathView):
    needs = {"GET": "sources-read", "DELETE": "sources-admin"}

    def get(self, request, uid):
        return ok(source=shapes.source(self.source(uid=uid)))

    def delete(self, request, uid):
        delete_source(self.source(uid=uid), by=request.user)
        return ok()


class Buckets(UiPathView):
    """There are none here; the client asks before it lists sources."""

    def get(self, request):
        return ok(buckets=[])


class CommentsOfSource(UiPathView):
    """Oldest first, both ends of the time range included."""

    needs = {"GET": "sources-read", "PUT": "sources-add-comments", "DELETE": "sources-admin"}

    def get(self, request, project, name):
        source = self.source(project, name)
        asked = self.read(serializers.Paging, request.query_params)
        since, until = asked.get("from_timestamp"), asked.get("to_timestamp")
        page = page_of(
            between(Task.objects.all(), since=since, until=until),
            sources=[source.pk],
            question=["comments", source.uid, since and since.isoformat(), until and until.isoformat()],
            limit=asked["limit"],
            token=asked.get("after"),
        )
        told = {"comments": [shapes.comment(task) for task in page.tasks]}
        return ok(**told, **({"continuation": page.continuation} if page.continuation else {}))

    def put(self, request, project, name):
        """Add comments; one that is there with something else is a conflict."""
        received(self, self.source(project, name), overwrite=False)
        return ok()

    def delete(self, request, project, name):
        source = self.source(project, name)
        ids = request.query_params.getlist("id")
        if not 1 <= len(ids) <= MOST_DELETED or any("\0" in one for one in ids):
            raise ValidationError({"id": [f"name 1 to {MOST_DELETED} comments: ?id=…&id=…"]})
        delete_tasks(of_source(source).filter(external_id__in=ids), project=source.project, by=request.user)
        return ok()


class OneComment(UiPathView):
    needs = {"GET": "sources-read"}

    def get(self, request, project, name, comment):
        source = self.source(project, name)
        task = of_source(source).select_related("source").filter(external_id=comment).first()
        if task is None:
            raise NotFound(f"No such comment: {source.uid}.{comment}")
        with_answers([task])
        return ok(comment=shapes.comment(task))


class Sync(UiPathView):
    needs = {"POST": "sources-add-comments"}

    def post(self, request, project, name):
        done = received(self, self.source(project, name), overwrite=True)
        return ok(
            new=done.created,
            updated=done.retold + done.amended,
            unchanged=done.unchanged,
            updated_properties_only=done.amended,
            updated_text_changed=done.retold,
        )


def received(view: UiPathView, source: Source, *, overwrite: bool) -> Synced:
    """Bring the comments of the request's body into `source`."""
    checked = view.read(serializers.Comments)["comments"]
    raw = view.request.data["comments"]  # type: ignore[call-overload]  # an object, or it would not have been read
    items = (item_of(comment, told) for comment, told in zip(checked, raw, strict=True))
    with turn():
        return sync_tasks(source, items, by=view.request.user, overwrite=overwrite)


class SourceStatistics(UiPathView):
    needs = {"POST": "sources-read"}

    def post(self, request, project, name):
        source = self.source(project, name)
        asked = self.read(serializers.StatisticsRequest)
        tasks = filtered(of_source(source), asked.get("comment_filter", {}), asked.get("attribute_filters", ()))
        return ok(
            statistics={
                "num_comments": tasks.count(),
                "label_counts": label_counts(tasks),
                "label_timeseries": [],
                "label_property_timeseries": [],
            }
        )
