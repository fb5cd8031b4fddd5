"""SENTIMENT_ANALYSIS: which feeling a text shows. The French prompts are DLoopIQ's, to the letter."""

from .base import Prompts, SingleChoice


class SentimentAnalysis(SingleChoice):
    name = "SENTIMENT_ANALYSIS"
    title = "Sentiment analysis"
    default_labels = {
        "fr": ("Positif", "Négatif"),
        "en": ("Positive", "Negative"),
        "zh": ("正面", "负面"),
    }
    prompts = {
        "fr": Prompts("Analyse le sentiment : {content}", "Analyse le sentiment du texte suivant."),
        "en": Prompts("Analyse the sentiment: {content}", "Analyse the sentiment of the following text."),
        "de": Prompts("Analysiere die Stimmung: {content}", "Analysiere die Stimmung des folgenden Textes."),
        "es": Prompts("Analiza el sentimiento: {content}", "Analiza el sentimiento del siguiente texto."),
        "ar": Prompts("حلّل المشاعر: {content}", "حلّل المشاعر في النص التالي."),
        "zh": Prompts("分析情感：{content}", "分析以下文本的情感。"),
    }
