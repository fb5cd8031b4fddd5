"""BINARY_CHOICE: one of two. The content is itself the question (DLoopIQ), so the chat prompt adds nothing."""

from .base import InvalidAnswer, Prompts, SingleChoice


class BinaryChoice(SingleChoice):
    name = "BINARY_CHOICE"
    title = "Binary choice"
    default_labels = {"fr": ("Oui", "Non"), "en": ("Yes", "No"), "zh": ("是", "否")}
    prompts = {
        "fr": Prompts("{content}", "Réponds à la question suivante."),
        "en": Prompts("{content}", "Answer the following question."),
        "de": Prompts("{content}", "Beantworte die folgende Frage."),
        "es": Prompts("{content}", "Responde a la siguiente pregunta."),
        "ar": Prompts("{content}", "أجب عن السؤال التالي."),
        "zh": Prompts("{content}", "回答以下问题。"),
    }

    def check_content(self, content, *, options):
        super().check_content(content, options=options)
        if options is not None and len(options) != 2:
            raise InvalidAnswer(f"a binary choice has 2 options, not {len(options)}")
