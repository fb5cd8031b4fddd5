"""TEXT_CLASSIFICATION: which one of the project's labels fits a text."""

from .base import Prompts, SingleChoice


class TextClassification(SingleChoice):
    name = "TEXT_CLASSIFICATION"
    title = "Text classification"
    prompts = {
        "fr": Prompts("Classe le texte : {content}", "Classe le texte suivant."),
        "en": Prompts("Classify the text: {content}", "Classify the following text."),
        "de": Prompts("Ordne den Text ein: {content}", "Ordne den folgenden Text ein."),
        "es": Prompts("Clasifica el texto: {content}", "Clasifica el siguiente texto."),
        "ar": Prompts("صنّف النص: {content}", "صنّف النص التالي."),
        "zh": Prompts("对文本分类：{content}", "对以下文本进行分类。"),
    }
