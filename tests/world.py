"""A hub with some of everything in it, for tests of what the admin shows and to whom."""

from itertools import count

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth.models import Group
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from exports.models import Batch, FineTune, KeptSplit, ModelTag, ModelVersion, PredictionRun, ProviderAccount
from labelhub.accounts.models import AccessKey, AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs.models import Job
from samples.models import Dataset, Doubt, Label, Prediction, Source
from tests.factories import make_annotation, make_batch, make_member, make_sample, make_source, make_staff, make_user

numbers = count(1)


def fill(project, rows, *, marker="", owner=None):
    """`rows` rows of every kind in `project` and around it, each with `marker` where people could read it."""
    owner = owner or make_staff()
    source = make_source(project, name=f"{marker}source{next(numbers)}")
    labels = list(project.labels.all())
    for _ in range(rows):
        number = next(numbers)
        Source.objects.create(project=project, name=f"{marker}more{number}")
        Dataset.objects.create(project=project, name=f"{marker}set{number}").sources.add(source)
        Label.objects.create(project=project, name=f"{marker}label{number}", position=project.labels.count())
        member = make_member(project, Role.ANNOTATOR, user=make_user(f"{marker}person{number}"))
        sample = make_sample(project, f"{marker}text {number}", source=source, label=labels[0].name)
        make_annotation(sample.task, member, label=labels[0].name)
        Prediction.objects.create(task=sample.task, model=f"{marker}model", label=labels[0], probability=0.5)
        batch = make_batch(
            project,
            path=f"export/{marker}{number}.jsonl",
            state=Batch.State.READY,
            sha256="0" * 64,
            created_by=owner,
            job=Job.objects.create(kind=f"{marker}kind", owner=owner),
        )
        batch.items.create(sample=sample)
        KeptSplit.objects.create(project=project, name=f"{marker}split{number}", seed="0")
        account = ProviderAccount.objects.create(
            name=f"{marker}account{number}", provider="openai", project=project, encrypted_key="-"
        )
        finetune = FineTune.objects.create(
            batch=batch, model=f"{marker}base", status=FineTune.Status.SUCCESS, account=account
        )
        version = ModelVersion.objects.create(project=project, version=number, finetune=finetune)
        PredictionRun.objects.create(version=version, keys=b"", created_by=owner, job=Job.objects.create(kind="k"))
        Doubt.objects.create(
            task=sample.task,
            project=project,
            model=f"{marker}model",
            verdict=sample.label_name,
            answer={"label": labels[1].name},
            suggestion=f"{marker}{labels[1].name}",
            confidence=0.9,
            trust=0.1,
        )
        ModelTag.objects.create(project=project, name=f"{marker}tag{number}", version=version)
        AccessKey.objects.create(user=owner, name=f"{marker}key", key_id=f"lh{number}", encrypted_secret="-")
        AuditEntry.objects.create(actor=owner, action=f"{marker}act", subject="sample", subject_id=sample.pk)
        token = OutstandingToken.objects.create(
            user=owner, jti=f"{marker}{number}", token="-", expires_at=timezone.now()
        )
        BlacklistedToken.objects.create(token=token)
        Group.objects.create(name=f"{marker}group{number}")
        for model in (AccessAttempt, AccessLog, AccessFailureLog):
            fields = {"failures_since_start": 1} if model is AccessAttempt else {}
            model.objects.create(
                username=f"{marker}{number}", ip_address="10.0.0.1", path_info="/admin/login/", **fields
            )
