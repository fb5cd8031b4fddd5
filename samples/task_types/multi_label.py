"""MULTI_LABEL: every label that fits a text, at least one."""

import json
from collections.abc import Mapping

from samples.consensus import Vote
from samples.consensus.base import ROUNDING

from .base import InvalidAnswer, Prompts, Settlement, TaskType, shown


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
        parts = [part.strip() for part in text.split(",") if part.strip()]
        is_list = all(part in choices for part in parts)
        if text in choices and (len(parts) == 1 or not is_list):
            return self.clean([text], choices=choices)
        if text.startswith("[") and not is_list:
            try:
                return self.clean(json.loads(text), choices=choices)
            except json.JSONDecodeError as error:
                raise InvalidAnswer(f"not a JSON list of labels: {error}") from error
        if len(parts) > 1 and any("," in label for label in choices):
            raise InvalidAnswer(f"some labels contain commas: write {text!r} as a JSON list", allowed=list(choices))
        return self.clean(parts, choices=choices)

    def label_name(self, answer):
        return ", ".join(answer["labels"])

    def label_names(self, answer):
        return list(answer["labels"])

    def vote(self, answer):
        return json.dumps(answer["labels"], ensure_ascii=False)

    def settle(self, answers, *, rule, threshold, choices=()):
        """Each label on its own: in if its share reaches `threshold` and beats “not”.

        No verdict where a label is tied or none is in; as sure as the least certain of the labels anyone chose.
        """
        places = {label: place for place, label in enumerate(choices)}
        chosen = {label for answer, _ in answers for label in answer["labels"]}
        shares, verdict, certainty, is_tied = {}, [], 1.0, False
        for label in sorted(chosen, key=lambda label: (places.get(label, len(places)), label)):
            votes = [Vote("in" if label in answer["labels"] else "out", weight) for answer, weight in answers]
            outcome = rule.decide(votes, threshold=0.0)
            share = shares[label] = outcome.shares["in"]
            is_in = outcome.winner == "in" and share >= threshold - ROUNDING
            if is_in:
                verdict.append(label)
            certainty = min(certainty, share if is_in else 1.0 - share)
            is_tied = is_tied or outcome.winner is None
        return Settlement({"labels": verdict} if verdict and not is_tied else None, certainty, shares)
