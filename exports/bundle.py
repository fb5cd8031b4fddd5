"""A bundle: the data with a card that people and `load_dataset` read, croissant.json and the manifest."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, Count, Max, QuerySet

from labelhub import __version__
from samples import consensus
from samples.models import Annotation, Project, Sample, Task

from . import splits
from .card import card
from .carried import carried_by
from .context import label_map, projects_of, types_of
from .croissant import croissant
from .files import File, Member, writable
from .formats import Context

CARD, CROISSANT, MANIFEST = "README.md", "croissant.json", "manifest.json"


@dataclass(frozen=True)
class Story:
    """What a card tells beside the file: whose texts, whose labels, and how the two came together."""

    name: str
    title: str
    description: str
    languages: list[str]
    types: list[str]
    made_by: list[str]  # sentences
    license: str
    made_on: str  # 2026-05-25


def parts_of(file: File, name: str) -> list[dict[str, Any]]:
    """Each part of a file that has been written, as manifests list it; `name` is that of a file in one piece."""
    return [
        {
            "name": file.member(part) if file.is_archive else name,
            "part": part,
            "rows": tally.rows * file.format.records,
            "bytes": tally.bytes,
            "sha256": tally.sha256,
            "labels": tally.labels(),
        }
        for part, tally in file.parts.items()
    ]


def notes_of_batch(batch, file: File) -> Iterator[Member]:
    """The members that tell of a batch. No clock is read: the same batch gives the same bytes."""
    rows = writable(carried_by(batch).rows(), file.format)
    about = {
        "batch": str(batch.uuid),
        "selection": batch.selection,
        "split": batch.ratios
        and {
            "ratios": dict(zip(splits.PARTS, batch.ratios, strict=True)),
            "seed": batch.seed,
            "stratified": batch.is_stratified,
            **batch.dealt,
        },
        "created_by": batch.created_by and batch.created_by.get_username(),
        "created_at": f"{batch.created_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    made_on = f"{batch.created_at:%Y-%m-%d}"
    return notes(file, rows, labels=batch.label_map, options=batch.options, made_on=made_on, about=about)


def notes_of_rows(samples: QuerySet[Sample], about: Mapping[str, Any], options: Mapping[str, Any], file: File):
    """The same for samples that no batch gathered; they are dated by the newest of them."""
    newest = samples.aggregate(newest=Max("created_at"))["newest"]
    made_on = f"{newest:%Y-%m-%d}" if newest else ""
    labels = label_map(samples, projects_of(samples))
    return notes(file, samples, labels=labels, options=options, made_on=made_on, about=about)


def notes(
    file: File,
    rows: QuerySet,
    *,
    labels: Mapping[str, int],
    options: Mapping[str, Any],
    made_on: str,
    about: Mapping[str, Any],
) -> Iterator[Member]:
    """README.md, croissant.json, manifest.json, and what the format's own reader wants beside them."""
    types = types_of(rows)
    story = _story(rows, license=options.get("license", ""), made_on=made_on, types=types)
    parts = parts_of(file, "")
    context = Context(labels=dict(labels) | file.context.labels, types=types)
    yield CARD, [card(file.format, context, parts, story).encode()]
    yield CROISSANT, [_readable(croissant(file.format, context, parts, story))]
    manifest = {
        **about,
        "format": file.format.name,
        "options": dict(options),
        "samples": file.rows,
        "label_map": context.labels,
        "parts": parts,
        "software": {"name": "LabelHub", "version": __version__},
    }
    yield MANIFEST, [_readable(manifest)]
    if beside := file.format.beside:
        members = {part["part"]: part["name"] for part in parts}
        yield beside.name, [beside.written(members, context, options, title=story.name)]


def _readable(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"


def _story(rows: QuerySet, *, license: str, made_on: str, types: Iterable[str]) -> Story:
    projects = list(Project.objects.filter(pk__in=rows.order_by().values("project")).order_by("name"))
    languages = rows.order_by().values_list("locale", flat=True).distinct()
    only = projects[0] if len(projects) == 1 else None
    return Story(
        name=only.name if only else _kind(rows),
        title=str(only) if only else f"{_kind(rows).capitalize()} of {len(projects)} projects",
        description="\n\n".join(project.description for project in projects if project.description),
        languages=sorted(languages),
        types=sorted(types),
        made_by=list(_made_by(rows, projects)),
        license=license,
        made_on=made_on,
    )


def _kind(rows: QuerySet) -> str:
    return "tasks" if rows.model is Task else "samples"


def _made_by(rows: QuerySet, projects: list[Project]) -> Iterator[str]:
    """How the labels came to be, in sentences; people are counted, never named."""
    tasks = rows.order_by().values("pk" if rows.model is Task else "task")
    said = Annotation.objects.filter(task__in=tasks).aggregate(
        answers=Count("pk"), people=Count("annotator", distinct=True)
    )
    if said["answers"]:
        yield f"Answers behind the labels: {said['answers']:,}. Annotators: {said['people']:,}."
    else:
        yield f"The labels were imported; nobody has annotated the {_kind(rows)} here."
    for rule, needed, threshold in sorted(
        {(project.consensus_rule, project.validations_needed, project.consensus_threshold) for project in projects}
    ):
        title = dict(consensus.choices()).get(rule, rule)
        yield f"Consensus: {title}, {needed} answers needed, a share of at least {threshold:g}."
    sure = rows.aggregate(sure=Avg("confidence"))["sure"]
    if sure is not None:
        yield f"The mean share of the votes behind a label is {sure:.2f}."
    if rows.model is Task:
        yield "Tasks as they stood when they were written; no review was asked for."
    elif rows.exclude(status=Sample.Status.APPROVED).exists():  # a plain export may take others
        yield "Not every sample was approved in review."
    else:
        reviewers = rows.aggregate(reviewers=Count("reviewed_by", distinct=True))["reviewers"]
        yield f"Every sample was approved in review. Reviewers: {reviewers:,}."
