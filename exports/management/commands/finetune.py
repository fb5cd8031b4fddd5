"""`manage.py finetune BATCH`: train on the file of a batch."""

import json
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from exports import finetuning, providers
from exports.models import Batch, FineTune, ProviderAccount
from labelhub.facts import Fact
from labelhub.jobs.worker import bring_to_end


class Command(BaseCommand):
    help = "Start a fine-tune on a READY batch. A worker trains; with --wait this command does, if no worker is faster."

    def add_arguments(self, parser):
        parser.add_argument("batch", help="its id, its uuid, or the first eight hex digits of the uuid")
        parser.add_argument("--provider", default="local", help=", ".join(name for name, _ in providers.choices()))
        parser.add_argument("--model", default="", help="the base model, for providers that have several")
        parser.add_argument("--account", help="the provider account by its name, where there are several")
        parser.add_argument("--hyperparameters", default="{}", help='a JSON object, as {"n_epochs": 3}')
        parser.add_argument("--again", action="store_true", help="even if the batch was fine-tuned with success before")
        parser.add_argument("--wait", action="store_true", help="return when it has ended, and print the scores")

    def handle(self, *, batch, provider, model, account, hyperparameters, again, wait, **options):
        asked = {"provider": provider, "model": model, "again": again, "hyperparameters": json_object(hyperparameters)}
        if account is not None:
            asked["account"] = account_named(account)
        try:
            finetune = finetuning.submit(batch_named(batch), by=None, **asked)
        except Fact as fact:
            raise CommandError(fact.message) from fact
        self.stdout.write(f"fine-tune {finetune.pk} ({finetune.uuid})")
        if wait:
            bring_to_end(finetune.job)
            finetuning.refresh(finetune)
            if finetune.status != FineTune.Status.SUCCESS:
                raise CommandError(f"{finetune.get_status_display().lower()}: {finetune.error or 'no reason given'}")
            version = finetune.model_version
            place = (
                f"in {version.artefact}" if version.artefact else f"at {finetune.provider}: {version.provider_model}"
            )
            self.stdout.write(f"model {version} {place}")
            if "per_label" in finetune.metrics:
                self.stdout.write("\n".join(score_lines(finetune.metrics)))


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(f"--hyperparameters is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CommandError("--hyperparameters is a JSON object, in curly brackets")
    return value


def account_named(name: str) -> ProviderAccount:
    found = ProviderAccount.objects.active().filter(name=name).first()
    if found is None:
        raise CommandError(f"no open provider account {name!r}")
    return found


def batch_named(name: str) -> Batch:
    """The batch meant by an id, a uuid, or the first eight or more hex digits of one; CommandError if not exactly one."""
    found = Batch.objects.none()
    digits = name.replace("-", "").lower()
    if name.isdecimal():
        found = Batch.objects.filter(pk=int(name))
    if not found and 8 <= len(digits) <= 32 and set(digits) <= set("0123456789abcdef"):
        first, last = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
        found = Batch.objects.filter(uuid__gte=first, uuid__lte=last)
    batches = list(found.select_related("project")[:2])
    if not batches:
        raise CommandError(f"no batch {name!r}")
    if len(batches) > 1:
        raise CommandError(f"several batches begin with {name!r}: give more digits")
    return batches[0]


def score_lines(metrics: dict[str, Any]) -> list[str]:
    """The scores as a small table."""
    low, high = metrics["accuracy_95"]
    width = max(len(name) for name in [*metrics["per_label"], "label"])
    lines = [
        f"learnt from {metrics['n_train']:,} texts, judged by {metrics['n_test']:,} ({metrics['test']}), "
        f"{metrics['seconds']:g} s",
        f"accuracy {metrics['accuracy']:.3f} (95 %: {low:.2f} to {high:.2f})  macro-F1 {metrics['macro_f1']:.3f}  "
        f"log-loss {metrics['log_loss']:.3f}",
        f"{'label':{width}}  precision  recall     F1  texts",
    ]
    for name, scores in metrics["per_label"].items():
        lines.append(
            f"{name:{width}}  {scores['precision']:9.3f}  {scores['recall']:6.3f}  {scores['f1']:5.3f}  "
            f"{scores['support']:5}"
        )
    return lines
