"""What an encoder knows beside the rows: the label map and the words of prompts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from exports.errors import BadPrompts
from samples import task_types

LABELLED = frozenset(name for name in task_types.names() if task_types.get(name).has_labels)
STYLES = ("chat", "instruction")
SLOT = "{content}"


@dataclass
class Context:
    """`labels` maps names to indices (label_id); `prompts` maps a project to its overrides, {"fr": {"chat": "…"}}.

    `types` are the task types among the rows; only files whose columns have a type of their own ask for them.
    """

    labels: dict[str, int] = field(default_factory=dict)
    prompts: Mapping[int, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    types: frozenset[str] = frozenset()

    def label_id(self, name: str) -> int:
        """The index of `name`; one that the map did not foresee gets the next."""
        return self.labels.setdefault(name, len(self.labels))

    def template(self, style: str, project: int, type: str, locale: str) -> str:
        """The words around `{content}`: the project's own before those of the task type."""
        return getattr(task_types.get(type).prompts_for(locale, self.prompts.get(project, {})), style)


def check_prompts(prompts: Any, *, project: str) -> None:
    """Refuse, with BadPrompts, overrides that are not {"locale": {"chat": "…{content}…", "instruction": "…"}}."""
    if not isinstance(prompts, Mapping) or not all(isinstance(words, Mapping) for words in prompts.values()):
        raise BadPrompts(f'prompts of project {project}: write {{"fr": {{"chat": "…{SLOT}", "instruction": "…"}}}}')
    for locale, words in prompts.items():
        for style, text in words.items():
            where = f"prompts of project {project}, {locale}"
            if style not in STYLES:
                raise BadPrompts(f"{where}: unknown style {style!r}; known: {', '.join(STYLES)}", known=list(STYLES))
            if not isinstance(text, str) or not text:
                raise BadPrompts(f"{where}, {style}: must be a text, not {text!r}")
            if style == "chat" and SLOT not in text:
                raise BadPrompts(f"{where}, chat: {SLOT} is missing, so the item itself would be left out")
