"""Trusting: how sure a model must be for its guesses to be as often right as was asked for, read off its held-out curve."""

from dataclasses import dataclass
from typing import Any

from labelhub.accounts.roles import Power
from samples import suggesting
from samples.models import Project
from samples.permissions import require

from .errors import NoCurve, OutOfReach
from .models import ModelVersion

LEAST_SEEN = 20  # held-out texts above a threshold: fewer say nothing about those to come


@dataclass(frozen=True)
class Trust:
    """From `threshold` on, the model was right about `precision` of held-out texts, and they were `coverage` of them all.

    `seen` texts say so; by chance the truth may lie between `low` and `high` (95 %).
    """

    threshold: float
    coverage: float
    precision: float
    seen: int
    low: float
    high: float

    @property
    def covers(self) -> str:
        return f"{self.coverage:.0%}"

    @property
    def right(self) -> str:
        return f"{self.precision:.1%}"

    @property
    def reach(self) -> str:
        return f"{self.low:.0%} to {self.high:.0%}"


def curve_of(version: ModelVersion) -> list[Trust]:
    """The points of the held-out curve that enough texts stand behind, from the lowest threshold up; NoCurve without any."""
    from .providers.scores import interval  # scikit-learn takes a second to load

    measured: dict[str, Any] = version.metrics or {}
    if not measured.get("coverage") or not measured.get("n_test"):
        raise NoCurve(f"nobody has measured how far {version} may be trusted: it has no held-out curve")
    points = []
    for point in measured["coverage"]:
        seen = round(point["coverage"] * measured["n_test"])
        if seen >= LEAST_SEEN and point["accuracy"] is not None:
            low, high = interval(round(point["accuracy"] * seen), seen)
            points.append(Trust(point["threshold"], point["coverage"], point["accuracy"], seen, low, high))
    if not points:
        raise NoCurve(
            f"{version} was judged by {measured['n_test']} texts; it takes {LEAST_SEEN} to say how far it may be trusted"
        )
    return points


def trust_for(version: ModelVersion, precision: float) -> Trust:
    """The lowest threshold from which on `version` was right as often as `precision`; OutOfReach where it never was."""
    if version.project.kind.allows_several:
        raise NoCurve(f"{version} says several labels at once: no one threshold tells how far to trust it")
    points = curve_of(version)
    for point in points:
        if point.precision >= precision:
            return point
    best = max(points, key=lambda point: point.precision)
    raise OutOfReach(
        f"{version} is never right about {precision:.1%} of what it is sure of; at best about {best.precision:.1%}, "
        f"from {best.threshold:g} on",
        best=best.precision,
    )


def fill_in(version: ModelVersion, *, precision: float, by) -> Trust:
    """Let `version` fill in the forms of its project, where it is so sure that `precision` of its guesses are right."""
    require(by, Power.FINETUNE, version.project)
    trust = trust_for(version, precision)
    reason = f"{precision:.1%} asked for, {trust.precision:.1%} measured on {trust.seen} texts"
    suggesting.fill_in(version.project, model=str(version), threshold=trust.threshold, by=by, reason=reason)
    return trust


def leave_empty(project: Project, *, by) -> bool:
    """Let forms begin empty again; False where they did."""
    return suggesting.leave_empty(project, by=by)
