"""IMAGE_CLASSIFICATION: which one of the project's labels fits an image; the content is its URL or file name."""

from .base import Prompts, SingleChoice


class ImageClassification(SingleChoice):
    name = "IMAGE_CLASSIFICATION"
    title = "Image classification"
    sample_type = "IMAGE"
    prompts = {
        "fr": Prompts("Classe l’image : {content}", "Classe l’image suivante."),
        "en": Prompts("Classify the image: {content}", "Classify the following image."),
        "de": Prompts("Ordne das Bild ein: {content}", "Ordne das folgende Bild ein."),
        "es": Prompts("Clasifica la imagen: {content}", "Clasifica la siguiente imagen."),
        "ar": Prompts("صنّف الصورة: {content}", "صنّف الصورة التالية."),
        "zh": Prompts("对图像分类：{content}", "对以下图像进行分类。"),
    }
