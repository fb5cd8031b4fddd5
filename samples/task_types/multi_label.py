"""MULTI_LABEL: every label that fits a text, at least one."""

import json
from collections.abc import Mapping

from .base import InvalidAnswer, Prompts, TaskType, shown


class MultiLabel(TaskType):
    name = "MULTI_LABEL"
    title = "Multi-label classification"
    allows_several = True
    form = "checkbox"
    prompts = {
        "fr": Prompts(
            "Donne toutes les étiquettes du texte : {content}", "Donne toutes les étiquettes du texte suivant."
        ),
        "en": Prompts("Give every label of the text: {content}", "Give every label that fits the following text."),
        "de": Prompts("Nenne alle Labels des Textes: {content}", "Nenne alle passenden Labels des folgenden Textes."),
        "es": Prompts("Da todas las etiquetas del texto: {content}", "Da todas las etiquetas del siguiente texto."),
        "ar": Prompts("اذكر كل تصنيفات النص: {content}", "اذكر كل التصنيفات المناسبة للنص التالي."),
        "zh": Prompts("给出文本的所有标签：{content}", "给出以下文本的所有标签。"),
    }

    def clean(self, answer, *, choices):
        """{"labels": […]}, each once, in the project's order."""
        labels = answer.get("labels") if isinstance(answer, Mapping) else answer
        if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
            raise InvalidAnswer(
                f'an answer is {{"labels": ["…"]}} with some of: {shown(choices)}', allowed=list(choices)
            )
        chosen = set(labels)
        unknown = sorted(chosen.difference(choices))
        if unknown:
            raise InvalidAnswer(f"{unknown[0]!r} is not one of the labels: {shown(choices)}", allowed=list(choices))
        if not chosen:
            raise InvalidAnswer(f"choose at least one of: {shown(choices)}", allowed=list(choices))
        return {"labels": [label for label in choices if label in chosen]}

    def from_text(self, text, *, choices):
        """A JSON list, as our exports write it, or names joined by commas where that leaves no doubt."""
        text = text.strip()
        if text in choices:
            return self.clean([text], choices=choices)
        if text.startswith("["):
            try:
                return self.clean(json.loads(text), choices=choices)
            except json.JSONDecodeError as error:
                raise InvalidAnswer(f"not a JSON list of labels: {error}") from error
        return self.clean([name.strip() for name in text.split(",") if name.strip()], choices=choices)

    def label_name(self, answer):
        return ", ".join(answer["labels"])

    def label_names(self, answer):
        return list(answer["labels"])

    def vote(self, answer):
        return json.dumps(answer["labels"], ensure_ascii=False)
