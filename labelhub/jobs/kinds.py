"""The menu of background work: each kind's function, kept where its subject lives (an app's `tasks.py`)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from labelhub.facts import Fact


class UnknownKind(Fact):
    code = "unknown_job_kind"


@dataclass(frozen=True)
class Kind:
    """`run(progress, **params)` does the work; `ended(job, **params)` hears that it failed for good or was cancelled.

    `every()` is how often the sweeper submits it by itself; None is not now.
    """

    name: str
    run: Callable
    ended: Callable[..., None] | None = None
    every: Callable[[], timedelta | None] | None = None


_kinds: dict[str, Kind] = {}


def job(name: str, *, ended: Callable[..., None] | None = None, every: Callable[[], timedelta | None] | None = None):
    """Register the decorated function as the work of kind `name`.

    It may run more than once (a worker can die at any line), so it must start over or resume; what it returns, a dict
    or None, is kept as the job's result. A Fact it raises fails the job for good, any other exception is tried again.
    `ended` runs in the transaction that marks the job FAILED or CANCELLED.
    """

    def register(run):
        _kinds[name] = Kind(name, run, ended, every)
        return run

    return register


def periodic() -> list[tuple[str, timedelta]]:
    """The kinds that are due every so often, without anybody's asking."""
    return [(kind.name, often) for kind in _kinds.values() if kind.every and (often := kind.every())]


def kind_named(name: str) -> Kind:
    """The kind registered as `name`; UnknownKind, naming the known ones, where there is none."""
    try:
        return _kinds[name]
    except KeyError:
        known = sorted(_kinds)
        raise UnknownKind(f"no job kind {name!r}; known: {', '.join(known) or 'none'}", known=known) from None
