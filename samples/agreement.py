"""How far annotators agree beyond chance: Krippendorff's alpha, Cohen's and Fleiss' kappa. Pure but for `project_alpha`.

Alpha follows Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": 1 − observed / expected disagreement,
over the values that can be paired. Where nothing can be paired it is None. Where everyone gave one and the same value
the formula is 0/0; 1.0 is returned then, for nobody disagreed (the kappas do the same).
"""

from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .models import Annotation, Project

Level = Literal["nominal", "ordinal", "interval"]
BLOCK = 4096  # units whose values are counted at a time


def krippendorff_alpha(
    answers: Mapping[Any, Sequence] | Iterable[Sequence], *, level: Level = "nominal", order: Sequence | None = None
) -> float | None:
    """Alpha of `answers`: for each unit the values it was given, one from each observer who saw it.

    Ordinal and interval values are compared in their own order, or in that of `order`; interval values are numbers.
    """
    units = answers.values() if isinstance(answers, Mapping) else answers
    places: dict[Hashable, int] = {value: place for place, value in enumerate(order or ())}
    unit_ids, codes = array("q"), array("q")
    for unit, values in enumerate(units):
        for value in values:
            unit_ids.append(unit)
            codes.append(places.setdefault(value, len(places)))
    if not codes:
        return None
    if level == "nominal":
        return _nominal(np.asarray(unit_ids), np.asarray(codes), np.bincount(unit_ids))
    scale = list(places) if order is not None else sorted(places)  # type: ignore[type-var]
    rank_of = {value: rank for rank, value in enumerate(scale)}
    ranks = np.array([rank_of[value] for value in places])
    return _ordered(np.asarray(unit_ids), ranks[np.asarray(codes)], scale, level=level)


def _nominal(units, codes, observers):
    """Alpha of values that are the same or not; `observers` says how many saw each unit.

    An observer may have given a unit several codes. The difference of two sets is then the number of codes in one but
    not the other, which for one code each comes to the nominal difference.
    """
    pairable = observers >= 2
    kept = pairable[units]
    size = int(codes.max()) + 1
    cells, counts = np.unique(units[kept] * size + codes[kept], return_counts=True)
    seen = observers[cells // size]
    whole = int(observers[pairable].sum())
    if not whole:
        return None
    totals = np.bincount(cells % size, weights=counts)
    observed = (counts * (seen - counts) / (seen - 1)).sum()
    expected = (totals * (whole - totals)).sum() / (whole - 1)
    return float(1 - observed / expected) if expected else 1.0


def _ordered(units, ranks, scale, *, level):
    """Alpha of values on a scale, from the coincidence matrix: how often two values met in one unit."""
    size = len(scale)
    coincidences = np.zeros((size, size))
    cells, counts = np.unique(units * size + ranks, return_counts=True)
    rows, row_of = np.unique(cells // size, return_inverse=True)
    for start in range(0, len(rows), BLOCK):
        here = (row_of >= start) & (row_of < start + BLOCK)
        table = np.zeros((min(BLOCK, len(rows) - start), size))
        table[row_of[here] - start, cells[here] % size] = counts[here]
        table = table[table.sum(axis=1) >= 2]
        shared = table / (table.sum(axis=1, keepdims=True) - 1)
        coincidences += shared.T @ table - np.diag(shared.sum(axis=0))
    totals = coincidences.sum(axis=1)
    whole = totals.sum()
    if not whole:
        return None
    if level == "interval":
        differences = np.subtract.outer(np.array(scale, float), np.array(scale, float)) ** 2
    else:  # ordinal: the values between the two, half of each end
        middles = np.cumsum(totals) - totals / 2
        differences = np.subtract.outer(middles, middles) ** 2
    expected = (np.outer(totals, totals) * differences).sum() / (whole - 1)
    return float(1 - (coincidences * differences).sum() / expected) if expected else 1.0


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Agreement of two observers who gave each unit one value. Cohen (1960)."""
    if not first:
        return None
    values = {value: place for place, value in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(values), len(values)))
    for one, other in zip(first, second, strict=True):
        table[values[one], values[other]] += 1
    table /= table.sum()
    return _beyond_chance(np.trace(table), table.sum(axis=0) @ table.sum(axis=1))


def fleiss_kappa(table: Sequence[Sequence[int]]) -> float | None:
    """Agreement of many observers: `table` has a row for each unit and counts who chose each category. Fleiss (1971)."""
    counts = np.asarray(table, float)
    if not counts.size:
        return None
    observers = counts.sum(axis=1)
    if (observers != observers[0]).any():
        raise ValueError("every unit must have the same number of observers; Krippendorff’s alpha needs no such thing")
    if observers[0] < 2:
        return None
    pairs = observers[0] * (observers[0] - 1)
    return _beyond_chance(
        (counts * (counts - 1)).sum(axis=1).mean() / pairs, ((counts.mean(0) / observers[0]) ** 2).sum()
    )


def _beyond_chance(observed, expected):
    return float((observed - expected) / (1 - expected)) if not np.isclose(expected, 1) else 1.0


def project_alpha(project: Project, *, level: Literal["nominal", "ordinal"] = "nominal") -> float | None:
    """Alpha over every answer in `project`, streamed from one query; ordinal takes the order of the project's labels.

    Several labels are compared label by label: the difference of two answers is the number of labels that only one of
    them has. None for types without labels, whose answers share no set of values, and for several labels on a scale.
    """
    kind = project.kind
    if not kind.has_labels or (kind.allows_several and level != "nominal"):
        return None
    is_scale = level != "nominal"
    order = list(project.labels.order_by("position").values_list("name", flat=True)) if is_scale else []
    places: dict[str, int] = {name: place for place, name in enumerate(order)}
    seen, owners, codes = (
        array("q"),
        array("q"),
        array("q"),
    )  # the task of each answer; the task and place of each label
    answers = Annotation.objects.filter(task__project=project, task__type=kind.name).order_by()
    # Unordered on purpose: for an ordered cursor PostgreSQL may choose a plan that takes minutes. Three small integers
    # for an answer are all that is kept: 24 MB for a million.
    for task_id, answer in answers.values_list("task_id", "answer").iterator(chunk_size=2000):
        names = kind.label_names(answer) or [kind.label_name(answer)]
        if is_scale and names[0] not in places:
            continue  # one of a task's own options: it has no place on the project's scale
        seen.append(task_id)
        for name in names:
            owners.append(task_id)
            codes.append(places.setdefault(name, len(places)))
    if not codes:
        return None
    tasks, observers = np.unique(seen, return_counts=True)
    units, values = np.searchsorted(tasks, owners), np.asarray(codes)
    if level == "nominal":
        return _nominal(units, values, observers)
    return _ordered(units, values, order, level=level)
