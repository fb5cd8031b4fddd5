"""Predicting: a model version guesses the labels of tasks, and the guesses are kept beside the answers of people.

A run goes on where a death cut it off, asking again changes nothing, and what people answered is never touched.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from labelhub.setwise import Ids, insert_rows, update_each
from samples.models import Prediction, Project, Task
from samples.permissions import require
from samples.settling import unsliced

from . import keys as packing
from . import providers
from .errors import NothingToAsk, ProviderDown, UnknownModel
from .models import ModelVersion, PredictionRun
from .providers.base import Guess, Guesser, Item, Progress

log = structlog.get_logger(__name__)

LATER_SECONDS = 60.0  # when a provider that went away in the middle is asked again
SAME = 1e-9  # two probabilities that differ by less are one: libraries add up in no fixed order
MOST_REFUSALS = 20  # different ones, noted word by word
LONGEST_REFUSAL = 80


class Counts(NamedTuple):
    """What became of the tasks that were asked about."""

    guessed: int = 0
    skipped: int = 0
    refused: int = 0
    refusals: Mapping[str, int] = {}


# Asking ---------------------------------------------------------------------------------------------------------------


def version_named(name: str, *, among: QuerySet[ModelVersion] | None = None) -> ModelVersion:
    """The model called “project@3”, or “project@prod” by a tag; UnknownModel where there is none (`among` those)."""
    known = ModelVersion.objects.all() if among is None else among
    project, _, which = name.rpartition("@")
    found = known.filter(project__name=project)
    found = (
        found.filter(version=int(which)) if which.isdecimal() and len(which) < 10 else found.filter(tags__name=which)
    )
    version = found.select_related("project", "finetune__batch__project", "finetune__account").first()
    if version is None:
        raise UnknownModel(f"no model {name[:100]!r}: write it project@3, or project@prod by its tag")
    return version


def unlabelled(project: Project) -> QuerySet[Task]:
    """The tasks of `project` that still wait for answers."""
    return Task.objects.filter(project=project).open()


def ask(version: ModelVersion, tasks: QuerySet[Task], *, by, selection: Any = None) -> PredictionRun:
    """Have a job let `version` guess about those of `tasks` that are of its project; `by` None is the hub itself.

    Which tasks they are is fixed now. Unsuitable where the version cannot be asked, NothingToAsk where there is no task.
    """
    if by is not None:
        require(by, Power.FINETUNE, version.project)
    providers.get(version.finetune.provider).check_asking(version)
    keys = _keys_of(version, tasks)
    if not keys:
        raise NothingToAsk(f"none of the chosen tasks is of {version.project.name}: there is nothing to guess")
    with transaction.atomic():
        run = PredictionRun.objects.create(
            version=version,
            keys=packing.pack(keys),
            selection=selection or {},
            task_count=len(keys),
            created_by=by,
        )
        run.job = queue.submit("exports.predict", {"run": run.pk}, by=by)
        run.save(update_fields=["job"])
        audit.record(version, "predict", by=by, after=f"{len(keys)} tasks")
    return run


def _keys_of(version, tasks) -> array:
    chosen = unsliced(tasks).filter(project=version.project).order_by("pk")
    return array("q", chosen.values_list("pk", flat=True).iterator(chunk_size=10_000))


def cancel(run: PredictionRun, *, by) -> bool:
    """Stop `run`; what is guessed by then stays. False where it has ended."""
    require(by, Power.FINETUNE, run.project)
    return run.job is not None and queue.cancel(run.job)


# The job --------------------------------------------------------------------------------------------------------------


def run(run: PredictionRun, progress: Progress) -> None:
    """Guess, from where the run before came to; LeaseLost where another run is ahead of this one."""

    def written(counts: Counts, upto: int) -> None:
        refusals = Counter(run.refusals)
        for said, count in counts.refusals.items():
            if said in refusals or len(refusals) < MOST_REFUSALS:
                refusals[said] += count
        mine = PredictionRun.objects.filter(pk=run.pk, position=run.position)
        if not mine.update(
            position=upto,
            guessed_count=F("guessed_count") + counts.guessed,
            skipped_count=F("skipped_count") + counts.skipped,
            refused_count=F("refused_count") + counts.refused,
            refusals=dict(refusals),
        ):
            raise worker.LeaseLost
        run.position, run.refusals = upto, dict(refusals)

    total, begun_at = run.task_count, run.position
    progress(run.position, total, "waking the model")
    try:
        _guess(
            run.version,
            packing.unpack(bytes(run.keys)),
            start=begun_at,
            written=written,
            told=lambda done: progress(done, total, f"{done:,} of {total:,} tasks asked about"),
        )
    except ProviderDown as fact:
        if run.position == begun_at:
            raise
        log.info("prediction_run_waits", run=run.pk, said=fact.message)
        raise worker.Again(LATER_SECONDS) from fact  # it came some way: waiting is no failure
    run.refresh_from_db()


def state_of(run: PredictionRun) -> str:
    """How the run stands, in the words of its job, which may be forgotten by now."""
    return run.job.state if run.job else Job.State.DONE if run.is_done else Job.State.CANCELLED


def predict(version: ModelVersion, tasks: QuerySet[Task]) -> int:
    """The same here and now, without a job; returns how many tasks were guessed."""
    providers.get(version.finetune.provider).check_asking(version)
    done = [Counts()]
    _guess(version, _keys_of(version, tasks), written=lambda counts, upto: done.append(counts))
    return sum(counts.guessed for counts in done)


def _guess(
    version: ModelVersion,
    keys: Sequence[int],
    *,
    start: int = 0,
    written: Callable[[Counts, int], None],
    told: Callable[[int], None] = lambda done: None,
) -> None:
    """Guess about the tasks `keys` from the place `start` on, a block in a transaction, with `written` in it."""
    with providers.get(version.finetune.provider).guesser(version) as guesser:
        labels = dict(version.project.labels.values_list("name", "pk"))
        while start < len(keys):
            upto = min(start + guesser.at_once, len(keys))
            block = keys[start:upto]
            items = _items(version, block, guesser)
            base = start
            guesses = guesser.guess(items, lambda done, base=base: told(base + done))
            with transaction.atomic():
                written(_keep(version, block, items, guesses, labels), upto)
            start = upto
            told(start)


def _items(version, block, guesser: Guesser) -> list[Item]:
    """What the model is to be asked of the tasks in `block`; those it has guessed before are left out where it costs."""
    rows = Task.objects.filter(pk__in=Ids(block), options__isnull=True).order_by("pk")
    if not guesser.is_free:
        rows = rows.exclude(predictions__model=str(version))
    return [Item(*row) for row in rows.values_list("pk", "type", "content", "media", "locale")]


# Keeping --------------------------------------------------------------------------------------------------------------


def _keep(version, block, items, guesses: Sequence[Guess], labels: Mapping[str, int]) -> Counts:
    """Write what is new among `guesses`; returns what became of the tasks in `block`."""
    locked = dict(
        Task.objects.select_for_update()
        .filter(pk__in=Ids(item.pk for item in items))
        .order_by("pk")
        .values_list("pk", "margin")
    )
    wanted: dict[int, dict[int, float | None]] = {}
    margins, refused = [], Counter[str]()
    skipped = len(block) - len(items)
    for item, guess in zip(items, guesses, strict=True):
        named = {labels[name]: chance for name, chance in guess.labels if name in labels}
        if item.pk not in locked or guess.is_unreadable:
            skipped += 1
        elif not named:
            said = guess.refusal or ", ".join(name for name, _ in guess.labels)
            refused[said[:LONGEST_REFUSAL]] += 1
        else:
            wanted[item.pk] = named
            if guess.margin is not None and not _is_same(locked[item.pk], guess.margin):
                margins.append((item.pk, guess.margin))
    _write_guesses(str(version), wanted)
    update_each(Task, ("margin",), margins)
    already = 0
    if len(items) < len(block):  # of those left out, the ones with a guess were asked before
        left_out = set(block) - {item.pk for item in items}
        kept = Prediction.objects.filter(model=str(version), task__in=Ids(sorted(left_out)))
        already = kept.order_by().values("task").distinct().count()
    return Counts(len(wanted) + already, skipped - already, refused.total(), refused)


def _write_guesses(model: str, wanted: Mapping[int, Mapping[int, float | None]]) -> None:
    """Put the guesses `wanted` (label and probability, by task) in the place of others of `model`; the same stay."""
    there: dict[int, dict[int, float | None]] = defaultdict(dict)
    kept = Prediction.objects.filter(model=model, task__in=Ids(wanted))
    for task, label, chance in kept.values_list("task_id", "label_id", "probability"):
        there[task][label] = chance
    changed = [task for task, named in wanted.items() if not _are_same(there.get(task, {}), named)]
    if stale := [task for task in changed if task in there]:
        Prediction.objects.filter(model=model, task__in=Ids(stale)).delete()
    rows = ((task, label, chance) for task in changed for label, chance in wanted[task].items())
    insert_rows(Prediction, ("task", "label", "probability"), rows, same={"model": model, "created_at": timezone.now()})


def _are_same(before: Mapping[int, float | None], now: Mapping[int, float | None]) -> bool:
    return before.keys() == now.keys() and all(_is_same(before[label], now[label]) for label in now)


def _is_same(before: float | None, now: float | None) -> bool:
    return before == now or (before is not None and now is not None and abs(before - now) < SAME)
