"""manage.py generate_samples N --project P: synthetic approved samples, straight into the database, to measure with."""

import argparse
from collections.abc import Iterator
from hashlib import blake2b
from random import Random
from time import perf_counter
from typing import NamedTuple

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Value
from django.db.models.expressions import Combinable
from django.utils import timezone

from labelhub.facts import Fact
from labelhub.fields import dump_json
from labelhub.setwise import Ids, insert_rows, insert_select, new_ids
from samples.models import Label, Project, Sample, Source, Task
from samples.models.verdicts import VERDICT_FIELDS
from samples.projects import add_labels, create_project

BATCH = 5_000  # rows in one transaction
SENTENCES = 400  # different ones in each language
PARTS = {
    "en": (
        ("The parcel", "My new card", "The help desk", "This headset", "The second update", "Our room", "The refund"),
        ("arrived", "stopped working", "answered", "was replaced", "disappeared", "made everybody smile", "broke"),
        ("after nine days of waiting", "without a single word", "on the very first evening", "exactly as promised"),
        ("and nobody could tell us why", "so we would order it again", "which is more than we had hoped for"),
    ),
    "fr": (
        ("Le colis", "Ma nouvelle carte", "Le service après-vente", "Ce casque", "La mise à jour", "Notre chambre"),
        ("est arrivé", "ne marche plus", "a répondu", "a été échangé", "a disparu", "nous a fait sourire", "a cassé"),
        ("après neuf jours d’attente", "sans la moindre explication", "dès le premier soir", "exactement comme promis"),
        ("et personne n’a su nous dire pourquoi", "si bien qu’on en reprendra", "ce que nous n’espérions plus"),
    ),
    "zh": (
        (
            "我上个月买的这件包裹",
            "银行寄来的新卡",
            "那家店的客服人员",
            "这副蓝色的耳机",
            "昨天晚上的第二次更新",
            "我们订的房间",
        ),
        (
            "终于送到了我们家门口",
            "突然就不能正常使用了",
            "很快回复了我们的问题",
            "被免费换成了新的",
            "让全家人都非常高兴",
        ),
        ("虽然等了整整九天的时间", "而且没有任何人说明原因", "就在第一个晚上的时候", "和他们当初答应的完全一样"),
        ("所以下次我们还会再来这里买东西", "这比我们原来想的要好得多", "朋友们听说以后都觉得很奇怪"),
    ),
}


class Command(BaseCommand):
    help = "Put N synthetic tasks with approved samples into a project, made if it is missing. For measurements."

    def add_arguments(self, parser: argparse.ArgumentParser):
        parser.add_argument("number", metavar="N", type=int)
        parser.add_argument("--project", required=True)
        parser.add_argument("--seed", default="0", help="the same seed makes the same texts and labels (%(default)s)")
        parser.add_argument("--labels", metavar="K", type=int, default=2, help="labels of a new project (%(default)s)")

    def handle(self, *args, **options):
        if options["number"] < 1 or options["labels"] < 1:
            raise CommandError("N and K must be at least 1")
        began = perf_counter()
        try:
            project = _project(options["project"], labels=options["labels"])
        except Fact as fact:
            raise CommandError(fact.message) from fact
        _generate(project, options["number"], seed=options["seed"])
        seconds = perf_counter() - began
        self.stdout.write(
            f"{options['number']:,} approved samples in {project.name}, {options['number'] / seconds:,.0f} a second"
        )


def _project(name: str, *, labels: int) -> Project:
    project = Project.objects.filter(name=name).first()
    names = [f"Label {number:03}" for number in range(1, labels + 1)]
    if project is None:
        return create_project(name, task_type="TEXT_CLASSIFICATION", labels=names, title=f"{name} (synthetic)")
    if not project.kind.has_labels or project.kind.allows_several:
        raise CommandError(f"{project.name} is of type {project.task_type}; samples are made for one label each")
    if not project.labels.exists():
        add_labels(project, names)
    return project


class Text(NamedTuple):
    content: str
    locale: str
    label: Label


def texts(number: int, *, seed: str, labels: list[Label]) -> Iterator[Text]:
    """`number` texts of 120 to 400 characters in English, French and Chinese, each with one of `labels`."""
    random = Random(seed)
    pools = [(locale, _sentences(parts, random, locale)) for locale, parts in PARTS.items()]
    pick, chance = random.choices, random.random
    for _ in range(number):
        locale, pool = pools[int(chance() * len(pools))]
        content = ("" if locale == "zh" else " ").join(pick(pool, k=2 if chance() < 0.5 else 3))
        yield Text(content, locale, labels[int(chance() * len(labels))])


def _sentences(parts, random: Random, locale: str) -> list[str]:
    """Sentences of 60 to 130 characters."""
    gap, comma, stop = ("", "，", "。") if locale == "zh" else (" ", ", ", ".")
    sentences: list[str] = []
    while len(sentences) < SENTENCES:
        subject, verb, how, then = (random.choice(words) for words in parts)
        sentence = f"{subject}{gap}{verb}{gap}{how}{comma}{then}"
        while len(sentence) < 60:
            sentence += comma + random.choice(parts[2]) + comma + random.choice(parts[3])
        if len(sentence) < 130:
            sentences.append(sentence + stop)
    return sentences


def _generate(project: Project, number: int, *, seed: str) -> None:
    """Write `number` texts with their samples; what an earlier run made stays, and the new ids go on from there."""
    source, _ = Source.objects.get_or_create(project=project, name="synthetic")
    last = Task.objects.filter(source=source).order_by("-pk").values_list("external_id", flat=True).first()
    first = int(last.rpartition("-")[2]) + 1 if last else 0
    stream = texts(number, seed=f"{seed}:{first}" if first else seed, labels=list(project.labels.order_by("position")))
    told = {label.pk: _verdict(label) for label in project.labels.all()}
    # Uids in a row from one that the names choose: the same every time, and written in the order of their index.
    began = int.from_bytes(blake2b(f"{project.name}/{seed}".encode(), digest_size=8).digest(), "big")
    for start in range(first, first + number, BATCH):
        places = range(start, min(start + BATCH, first + number))
        now = timezone.now()
        with transaction.atomic():
            pks = new_ids(Task, len(places))
            rows = (
                (pk, f"{(began + place) % 2**64:016x}", f"{seed}-{place}", content, locale, *told[label.pk])
                for pk, place, (content, locale, label) in zip(pks, places, stream, strict=False)
            )
            same = {
                "project": project.pk,
                "source": source.pk,
                "type": project.task_type,
                "confidence": 1.0,
                "validated_at": now,
                "status": Task.Status.COMPLETED,
                "created_at": now,
                "updated_at": now,
            }
            insert_rows(Task, TASK_COLUMNS, rows, same=same)
            approved: dict[str, str | Combinable] = {
                "task": "pk",
                "project": "project",
                "sample_type": Value(project.kind.sample_type),
                "label": "label",
                "status": Value(Sample.Status.APPROVED),
                "reviewed_at": Value(now),
                "reason": Value(""),
                "created_at": Value(now),
                "updated_at": Value(now),
                **{name: name for name in VERDICT_FIELDS},
            }
            insert_select(Sample, Task.objects.filter(pk__in=Ids(pks)).order_by("pk"), approved)


TASK_COLUMNS = (
    "id",
    "uid",
    "external_id",
    "content",
    "locale",
    "label",
    "label_name",
    "label_index",
    "answer",
    "vote_shares",
)


def _verdict(label: Label) -> tuple:
    """The columns that tell a verdict for `label`, made once for all its samples."""
    return (label.pk, label.name, label.position, dump_json({"label": label.name}), dump_json({label.name: 1.0}))
