"""PREFERENCE: which of two responses to a prompt is better; the content is the prompt, the options the responses."""

from collections.abc import Mapping

from .base import InvalidAnswer, Prompts, TaskType


class Preference(TaskType):
    name = "PREFERENCE"
    title = "Preference"
    has_labels = False
    form = "pair"
    prompts = {
        "fr": Prompts("{content}", "Réponds à la demande suivante."),
        "en": Prompts("{content}", "Respond to the following request."),
        "de": Prompts("{content}", "Antworte auf die folgende Anfrage."),
        "es": Prompts("{content}", "Responde a la siguiente petición."),
        "ar": Prompts("{content}", "أجب عن الطلب التالي."),
        "zh": Prompts("{content}", "回应以下请求。"),
    }

    def check_content(self, content, *, options):
        super().check_content(content, options=options)
        if options is None or len(options) != 2 or options[0] == options[1]:
            raise InvalidAnswer("a preference needs two different responses as its options")
        if not all(option.strip() for option in options):
            raise InvalidAnswer("a response of a preference is blank: nobody can prefer anything to nothing")

    def clean(self, answer, *, choices):
        """{"chosen": "…", "rejected": "…"}: both responses in full, so that the answer stands on its own."""
        chosen = answer.get("chosen") if isinstance(answer, Mapping) else answer
        if len(choices) != 2:
            raise InvalidAnswer("a preference needs two different responses as its options")
        if not isinstance(chosen, str) or chosen not in choices:
            raise InvalidAnswer('an answer is {"chosen": "…"} with one of the two responses', allowed=list(choices))
        rejected = choices[1] if chosen == choices[0] else choices[0]
        if isinstance(answer, Mapping) and answer.get("rejected", rejected) != rejected:
            raise InvalidAnswer("“rejected” is not the other response", allowed=list(choices))
        return {"chosen": chosen, "rejected": rejected}

    def from_text(self, text, *, choices):
        return self.clean(text, choices=choices)

    def label_name(self, answer):
        return answer["chosen"]
