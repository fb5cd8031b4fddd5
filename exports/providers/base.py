"""What every fine-tune provider answers for itself."""

from collections.abc import Callable, Mapping
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

    def check(self, batch, *, model: str = "", hyperparameters: Mapping[str, Any] | None = None) -> None:
        """Raise `Unsuitable`, saying why, where this provider cannot train `model` on `batch` in this way.

        Asked before anything is written down, so it looks at rows and counts and never reads the file.
        """
        raise NotImplementedError

    def train(self, finetune, progress: Progress) -> Trained:
        """Train on the batch's file and score on its test part; runs inside a job, calls `progress` as it goes.

        It may be called again for the same fine-tune, when a worker died: it starts over and leaves one model.
        """
        raise NotImplementedError
