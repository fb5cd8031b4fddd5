"""What every fine-tune provider answers for itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

Progress = Callable[[int, int, str], None]  # (done, total, message); calling it is where a run can be stopped


@dataclass(frozen=True)
class Trained:
    """What a finished run leaves: metrics for people and programs, and the folder or the remote name of the model."""

    metrics: dict[str, Any]
    artefact: str = ""
    provider_model: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)


class Provider:
    """A place where models are trained. A subclass is one file; an instance stands on the menu in `__init__.py`."""

    name: ClassVar[str]
    label: ClassVar[str]

    def check(self, batch) -> None:
        """Raise `Unsuitable`, saying why, where this provider cannot train on `batch`."""

    def train(self, finetune, progress: Progress) -> Trained:
        """Train on the batch's files and score on its test part; runs inside a job, calls `progress` as it goes."""
        raise NotImplementedError
