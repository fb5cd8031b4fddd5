"""The split of a batch: what must stay together is asked of the data, who is on which side is kept for later batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy
from django.db import transaction

from labelhub.fields import dump_json
from labelhub.setwise import insert_rows
from samples.duplicates import note_duplicates
from samples.models import ClusterMember

from . import splits
from .carried import Split, carried_by
from .errors import BadSplit
from .models import Batch, KeptSide, KeptSplit

# What rows can have in common, and the column of their task that says so. Clusters of near-duplicates grow together as
# tasks come in; the others stay what they are.
DUPLICATES = "duplicates"
GROUPS = {DUPLICATES: "cluster_member__cluster", "source": "source"}
METADATA = "metadata:"


def criteria(group_by: str | Sequence[str]) -> list[str]:
    """The criteria in "duplicates,metadata:thread" or in a list, each once; BadSplit, naming the known, for another."""
    asked = group_by.split(",") if isinstance(group_by, str) else list(group_by)
    found = [name for name in dict.fromkeys(str(name).strip() for name in asked) if name]
    for name in found:
        if name not in GROUPS and not (name.startswith(METADATA) and name != METADATA):
            raise BadSplit(
                f"rows cannot be kept together by {name!r}; by {', '.join(GROUPS)} or {METADATA}KEY they can"
            )
    return found


def deal(batch: Batch, report: Callable[[], None]) -> bool:
    """Put every row of `batch` in its part; False, and none is, where there are rows that may not leave any more.

    Such a row would be dealt by nobody, and left in train should it be approved again before the file is written.
    """
    carried = carried_by(batch)
    if DUPLICATES in batch.group_by:
        _find_duplicates(batch, report)
    rows = _rows(batch, report)
    if not carried.are_all(len(rows.ids)):
        return False
    ratios = splits.parse(batch.ratios)
    if batch.split_name:
        dealt = _follow(kept_split(batch), batch, rows, ratios)
    else:
        dealt = splits.plan(rows, ratios, stratify=batch.is_stratified)
    carried.place(dealt.parts, report)
    batch.dealt = _described(batch, dealt)
    with transaction.atomic():
        batch.hold()
        batch.save(update_fields=["dealt"])
    return True


def _described(batch, dealt):
    """What the manifest says of it, beside ratios and seed."""
    said = {}
    if batch.group_by:
        said |= {"group_by": batch.group_by, "groups": dealt.groups, "largest_group": dealt.largest}
        said |= {"groups_on_several_sides": dealt.torn}
    if batch.split_name:
        said |= {"kept_as": batch.split_name, "rows_that_had_a_side": dealt.kept}
    return said


# What belongs together ------------------------------------------------------------------------------------------------


def _rows(batch, report) -> splits.Rows:
    """The rows with what they belong to, and, where their split is kept, who else of their clusters may have a side."""
    is_kept = bool(batch.split_name)
    lasting = [is_kept and name != DUPLICATES for name in batch.group_by]
    rows = splits.Rows(_reported(_identities(batch), report), seed=batch.seed, lasting=lasting)
    if is_kept and DUPLICATES in batch.group_by:
        members = ClusterMember.objects.filter(project=batch.project_id).together().values_list("cluster", "task__uid")
        pairs = ((cluster, uid.encode()) for cluster, uid in members.iterator(chunk_size=10_000))
        rows.note_absent(batch.group_by.index(DUPLICATES), pairs)
    return rows


def _identities(batch) -> Iterator[splits.Slim]:
    columns = ["metadata" if name.startswith(METADATA) else GROUPS[name] for name in batch.group_by]
    for page in carried_by(batch).identities(*columns):
        groups = [_values(name, column) for name, column in zip(batch.group_by, page.groups, strict=True)]
        yield page._replace(groups=groups)


def _values(criterion, column):
    """What rows have in common: of metadata, the value under its key, as text that tells 1 from "1"; None for nothing."""
    if not criterion.startswith(METADATA):
        return column
    found = (value.get(criterion[len(METADATA) :]) if isinstance(value, dict) else None for value in column)
    return [None if value is None else dump_json(value) for value in found]


def _find_duplicates(batch, report):
    """Compare those of the batch's tasks that were never compared with the project's others."""
    new = carried_by(batch).tasks().filter(cluster_member=None).order_by("pk").values_list("pk", flat=True)
    ids = iter(list(new.iterator(chunk_size=10_000)))
    while chunk := list(islice(ids, 400)):
        report()
        note_duplicates(chunk)


def _reported(pages, report):
    for page in pages:
        report()
        yield page


# What is kept ---------------------------------------------------------------------------------------------------------


def kept_split(batch: Batch) -> KeptSplit:
    """The split of the batch's project that is kept under the batch's `split_name`, made if it is new.

    BadSplit where it was dealt with another seed or keeps other things together: its sides would not fit.
    """
    if batch.project_id is None:
        raise BadSplit("a split is kept for one project; this batch mixes several")
    kept, _ = KeptSplit.objects.get_or_create(
        project_id=batch.project_id,
        name=batch.split_name,
        defaults={"seed": batch.seed, "group_by": batch.group_by},
    )
    if (kept.seed, kept.group_by) != (batch.seed, batch.group_by):
        together = ", ".join(kept.group_by) or "nothing"
        raise BadSplit(
            f"the split {kept.name!r} was dealt with seed {kept.seed!r} and keeps together by {together}: "
            "ask for the same, or for another name"
        )
    return kept


def _follow(kept: KeptSplit, batch: Batch, rows: splits.Rows, ratios: splits.Ratios) -> splits.Dealt:
    """Deal what is new beside what is kept, and keep that too; whoever dealt meanwhile was first.

    What an earlier try for the same batch kept is followed, but is not what had a side before.
    """
    parts = [int(split) for split in (Split.TRAIN, Split.VAL, Split.TEST)]
    while True:
        found = kept.sides.values_list("key", "split", "dealt_for").iterator(chunk_size=50_000)
        sides = ((key, split - parts[0], dealt_for == batch.pk) for key, split, dealt_for in found)
        there = numpy.fromiter(sides, [("key", "i8"), ("side", "u1"), ("is_own", "?")])
        dealt = splits.plan(rows, ratios, stratify=batch.is_stratified, fixed=(there["key"], there["side"]))
        if there["is_own"].any():
            before = there[~there["is_own"]]
            dealt = replace(dealt, kept=splits.following(rows, (before["key"], before["side"])))
        with transaction.atomic():
            KeptSplit.objects.select_for_update().get(pk=kept.pk)
            if kept.sides.count() == len(there):
                new = zip(dealt.keys.tolist(), (parts[side] for side in dealt.sides.tolist()), strict=True)
                insert_rows(KeptSide, ["key", "split"], new, same={"kept_split": kept.pk, "dealt_for": batch.pk})
                return dealt
