"""What every task type answers for itself. Pure: no database, so the rules can be tried on plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from labelhub.facts import Fact
from samples.consensus import Rule, Vote


class InvalidAnswer(Fact):
    code = "invalid_answer"


@dataclass(frozen=True)
class Prompts:
    """How exports put the question to a model; `{content}` stands for the item.

    `chat` is the user's turn (openai and kin), `instruction` the task said once beside the item (alpaca).
    """

    chat: str
    instruction: str


@dataclass(frozen=True)
class Settlement:
    """What several answers come to: one answer, or None where they do not agree enough.

    `confidence` is the share behind the answer (without one: the best there was), `shares` those of everything answered.
    """

    answer: Mapping[str, Any] | None
    confidence: float
    shares: Mapping[str, float]


class TaskType:
    """A kind of question. A subclass is one file; an instance stands on the menu in `__init__.py`.

    An answer is a small dict in one canonical form; `clean` makes it, everything else may trust it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    sample_type: ClassVar[str] = "TEXT"
    has_labels: ClassVar[bool] = True  # answers are chosen from the project's labels (or the task's options)
    allows_several: ClassVar[bool] = False
    form: ClassVar[str]  # how a form asks: "radio", "checkbox", "textarea" or "pair"
    default_labels: ClassVar[Mapping[str, Sequence[str]]] = {}  # locale -> labels a new project may start with
    prompts: ClassVar[Mapping[str, Prompts]]  # locale -> prompts; "en" is always there

    def clean(self, answer: Any, *, choices: Sequence[str]) -> dict[str, Any]:
        """The canonical form of `answer`; InvalidAnswer saying what was wrong and what is allowed."""
        raise NotImplementedError

    def from_text(self, text: str, *, choices: Sequence[str]) -> dict[str, Any]:
        """The answer that a label column's cell stands for: the inverse of `label_name` (and of `label_names`)."""
        return self.clean({"label": text if text in choices else text.strip()}, choices=choices)

    def vote(self, answer: Mapping[str, Any]) -> str:
        """What two answers must share to count as the same."""
        return self.label_name(answer)

    def label_name(self, answer: Mapping[str, Any]) -> str:
        """The answer as text: what people read and a model learns to write."""
        return answer["label"]

    def label_names(self, answer: Mapping[str, Any]) -> list[str] | None:
        """The list behind `label_name` where several labels are allowed, else None."""
        return None

    def settle(
        self,
        answers: Sequence[tuple[Mapping[str, Any], float]],
        *,
        rule: Rule,
        threshold: float,
        choices: Sequence[str] = (),
    ) -> Settlement:
        """What `answers`, each with the weight of its annotator's word, come to under `rule`."""
        votes = [Vote(self.vote(answer), weight) for answer, weight in answers]
        outcome = rule.decide(votes, threshold=threshold)
        winner = next((answer for answer, _ in answers if self.vote(answer) == outcome.winner), None)
        return Settlement(winner, outcome.share, outcome.shares)

    def check_content(self, content: str, *, options: Sequence[str] | None) -> None:
        """Refuse, with InvalidAnswer, an item that cannot be asked."""
        if not content.strip():
            raise InvalidAnswer("the content is empty")

    def prompts_for(self, locale: str, own: Mapping[str, Mapping[str, str]] = MappingProxyType({})) -> Prompts:
        """The prompts in `locale`, in its language ("fr" for "fr-CA"), or in English; at each, a project's `own` first."""

        def words(style: str) -> str:
            for place in (locale, locale.split("-")[0]):
                if own.get(place, {}).get(style):
                    return own[place][style]
                if place in self.prompts:
                    return getattr(self.prompts[place], style)
            return own.get("en", {}).get(style) or getattr(self.prompts["en"], style)

        return Prompts(chat=words("chat"), instruction=words("instruction"))


def shown(choices: Sequence[str], most: int = 20) -> str:
    """`choices` for a message: all of them, or the first `most`."""
    return ", ".join(choices[:most]) + (f", … ({len(choices)} in all)" if len(choices) > most else "")


class SingleChoice(TaskType):
    """Exactly one of the choices: {"label": "…"}."""

    form = "radio"

    def clean(self, answer, *, choices):
        label = answer.get("label") if isinstance(answer, Mapping) else answer
        if not isinstance(label, str):
            raise InvalidAnswer(f'an answer is {{"label": "…"}} with one of: {shown(choices)}', allowed=list(choices))
        if label not in choices:
            raise InvalidAnswer(f"{label!r} is not one of the labels: {shown(choices)}", allowed=list(choices))
        return {"label": label}
