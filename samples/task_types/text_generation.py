"""TEXT_GENERATION: write the response to a prompt; the content is the prompt."""

from collections.abc import Mapping

from .base import InvalidAnswer, Prompts, TaskType


class TextGeneration(TaskType):
    name = "TEXT_GENERATION"
    title = "Text generation"
    has_labels = False
    form = "textarea"
    prompts = {
        "fr": Prompts("{content}", "Réponds à la demande suivante."),
        "en": Prompts("{content}", "Respond to the following request."),
        "de": Prompts("{content}", "Antworte auf die folgende Anfrage."),
        "es": Prompts("{content}", "Responde a la siguiente petición."),
        "ar": Prompts("{content}", "أجب عن الطلب التالي."),
        "zh": Prompts("{content}", "回应以下请求。"),
    }

    def clean(self, answer, *, choices=()):
        """{"text": "…"}, not empty."""
        text = answer.get("text") if isinstance(answer, Mapping) else answer
        if not isinstance(text, str) or not text.strip():
            raise InvalidAnswer('an answer is {"text": "…"}, and the text may not be empty')
        return {"text": text}

    def from_text(self, text, *, choices=()):
        return self.clean(text)

    def label_name(self, answer):
        return answer["text"]

    def vote(self, answer):
        """Responses that differ only in white space are the same."""
        return " ".join(answer["text"].split())
