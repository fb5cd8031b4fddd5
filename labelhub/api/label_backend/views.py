"""The five endpoints, a class each: read, call the domain, shape."""

import time

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Prefetch, Subquery
from rest_framework.exceptions import NotFound

from exports import batching, finetuning
from exports.errors import ProviderRefused, ProviderTimeout
from exports.models import Batch, BatchItem, FineTune
from samples.models import Project, Sample, StatusCount

from . import serializers
from .envelope import ADMIN, LabelBackendView, Wrong, success

WAIT_SECONDS = 20.0  # for a file that is being written
LOOK_SECONDS = 0.1
FORMATS = {"local": "jsonl"}  # what a provider is given; the others take chats
CHATS = "openai"


class Samples(LabelBackendView):
    """GET /api/training/samples: the approved samples, those of a type, those that have or have not been exported."""

    def get(self, request):
        asked = request.query_params
        carriers = BatchItem.objects.filter(sample=OuterRef("pk"))
        # Named one by one, the index on (project, status, id) skips to a page without a look at a row.
        projects = list(Project.objects.where(request.user, ADMIN).values_list("pk", flat=True))
        within = {"project": projects[0]} if len(projects) == 1 else {"project__in": projects}
        everything = rows = Sample.objects.filter(**within).approved()
        if sample_type := serializers.sample_type_in(asked):
            rows = rows.filter(sample_type=sample_type)
        exported = serializers.exported_in(asked)
        if exported is not None:
            rows = rows.filter(Exists(carriers) if exported else ~Exists(carriers))
        total = None
        if rows is everything:
            kept = StatusCount.objects.samples().filter(**within).by_status()
            total = kept.get(Sample.Status.APPROVED, 0)
        latest = carriers.order_by("-is_claim", "-batch").values("batch")[:1]
        rows = rows.annotate(export_batch_id=Subquery(latest)).select_related("task").order_by("pk")
        return success(serializers.paging(asked).of(rows, serializers.sample, total=total))


class NewBatch(LabelBackendView):
    """POST /api/export/batch: exactly these samples, or none, become a file."""

    def post(self, request):
        order = serializers.batch_order(request.data)
        with transaction.atomic():
            batch = batching.gather(
                Sample.objects.where(request.user, ADMIN),
                by=request.user,
                format=FORMATS.get(settings.FINETUNE_PROVIDER, CHATS),
                ids=order.sample_ids,
                allow_reexport=order.allow_reexport,
            )
            if batch.project is None and not request.user.is_superuser:
                raise Wrong("the samples are of several projects: a batch is fine-tuned for one", "INVALID_SAMPLES")
        return success(serializers.new_batch(batch), status=201)


class BatchView(LabelBackendView):
    def batch(self, number: int) -> Batch:
        found = Batch.objects.where(self.request.user, ADMIN).filter(pk=number).first()
        if found is None:
            raise NotFound(f"No such batch: {number}")
        return found


class StartFineTune(BatchView):
    """POST /api/export/{id}/finetune: of however many that ask at once, one starts it."""

    def post(self, request, number):
        batch = self.batch(number)
        wait_for_file(batch)
        finetune = finetuning.send(finetuning.submit(batch, provider=settings.FINETUNE_PROVIDER, by=request.user))
        wait_for_job_id(finetune)
        return success(serializers.started(finetune))


def wait_for_file(batch: Batch) -> None:
    """Wait a while for a file that is on its way: the contract has it there when POST /api/export/batch has answered."""
    until = time.monotonic() + WAIT_SECONDS
    while batch.state in (Batch.State.QUEUED, Batch.State.RUNNING) and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        batch.refresh_from_db(fields=["state"])


def wait_for_job_id(finetune: FineTune) -> None:
    """Wait for the provider's answer where a worker was the faster to ask; raises what that came to, if not a job."""
    until = time.monotonic() + WAIT_SECONDS
    while not finetune.provider_job_id and finetune.is_under_way and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        finetune.refresh_from_db()
    if finetune.provider_job_id:
        return
    if finetune.is_under_way:
        raise ProviderTimeout(finetune.trouble or "the provider has not answered yet: the fine-tune's status will tell")
    raise ProviderRefused(finetune.error or "the fine-tune ended before it began")


class FineTuneStatus(BatchView):
    """GET /api/export/{id}/status: how the last fine-tune goes, asked of its provider now."""

    def get(self, request, number):
        batch = self.batch(number)
        finetune = batch.finetunes.order_by("pk").last()
        return success(serializers.status_of(batch, finetune and finetuning.refresh(finetune)))


class Batches(LabelBackendView):
    """GET /api/export/list: the newest first."""

    def get(self, request):
        finetunes = FineTune.objects.defer("metrics", "events", "hyperparameters")
        rows = Batch.objects.where(request.user, ADMIN).defer("manifest", "label_map", "selection").order_by("-pk")
        rows = rows.prefetch_related(Prefetch("finetunes", finetunes))
        return success(serializers.paging(request.query_params).of(rows, serializers.listed_batch))
