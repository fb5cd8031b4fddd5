"""Entities: list, annotate, delete, and the content of one behind a signed address."""

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.http import FileResponse, Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_safe

from exports.models import BatchItem
from labelhub.accounts.models import User
from labelhub.accounts.roles import Power
from labelhub.api.links import opened, token_of
from labelhub.api.qianfan import serializers
from labelhub.api.qianfan.entities import answer_in, content_of, entity, labels_of, listed, of_dataset
from labelhub.api.qianfan.envelope import NoSuchThing, QianfanView, ok
from labelhub.numbered import keys_at
from samples.labelling import assign
from samples.models import Dataset, Sample, Task
from samples.removal import delete_tasks
from samples.syncing import Item, sync_tasks

LINK = "qianfan-entity"


class EntityList(QianfanView):
    def post(self, request):
        asked = self.read(serializers.EntityList)
        found = listed(self.dataset(asked["datasetId"]), asked, request.user)
        # The keys first: to sort whole texts for one page of them would take ten times as long.
        keys = keys_at(found.rows.order_by("pk"), asked["offset"], asked["pageSize"], total=found.total)
        page = Task.objects.filter(pk__in=keys).select_related("label", "statistics").order_by("pk")
        labels = labels_of(page)
        items = [entity(task, labels=labels[task.pk], url=self.address_of(task)) for task in page]
        return ok({"totalAll": found.total_all, "total": found.total, "items": items})

    def address_of(self, task: Task) -> str:
        token = token_of(LINK, [task.uid, self.request.user.pk])
        return self.request.build_absolute_uri(reverse("qianfan-entity", args=[token]))


@require_safe
def content(request, token: str):
    """What stands behind an entity's `url`: its text with the answer, or its image; for as long as its reader may see it."""
    uid, reader = opened(LINK, token)
    user = User.objects.filter(pk=reader, is_active=True).first()
    task = Task.objects.visible_to(user).filter(uid=uid).first() if user else None
    if user is None or task is None:
        raise Http404("The entity is gone.")
    response: HttpResponseBase
    if task.media:
        response = FileResponse(task.media.open("rb"), as_attachment=True, filename=str(task.media).rpartition("/")[2])
    else:
        response = HttpResponse(content_of(task, user), content_type="application/json; charset=utf-8")
    response["Cache-Control"] = "private, no-store"
    return response


class EntityAnnotate(QianfanView):
    """The caller's answer; a prompt in other words than the entity's replaces them, where he may bring items in."""

    @transaction.atomic
    def post(self, request):
        asked = self.read(serializers.EntityAnnotate)
        dataset = self.dataset(asked["datasetId"], Power.ANNOTATE)
        task = of_dataset(dataset).select_related("project", "source").filter(uid=asked["id"]).first()
        if task is None:
            raise NoSuchThing(f"no such entity in {asked['datasetId']}: {asked['id']}")
        answer, prompt = answer_in(asked, task)
        if prompt != task.content:
            task.kind.check_content(prompt, options=task.options)
            sync_tasks(task.source, [Item(task.external_id, prompt, task.occurred_at)], by=request.user)
        assign(task, by=request.user, answer=answer)
        return ok(True)


class EntityDelete(QianfanView):
    """Those that are not there, were approved, or are carried by a batch, are named as failed; the others go."""

    @transaction.atomic
    def post(self, request):
        asked = self.read(serializers.EntityDelete)
        dataset = self.dataset(asked["datasetId"], Power.MANAGE)
        named = of_dataset(dataset).filter(uid__in=asked["id"])
        going = named.exclude(pk__in=needed(dataset).values("pk"))
        gone = set(going.values_list("uid", flat=True))
        delete_tasks(going, project=dataset.project, by=request.user)
        return ok({"failedOnes": [uid for uid in dict.fromkeys(asked["id"]) if uid not in gone] or None})


def needed(dataset: Dataset):
    """The tasks that must stay: approved as training data, or carried by a batch."""
    carried = Exists(BatchItem.objects.filter(sample__task=OuterRef("pk")))
    return of_dataset(dataset).filter(Q(sample__status=Sample.Status.APPROVED) | carried)
