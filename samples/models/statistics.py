"""What the texts are like, in figures: one narrow row a task, filled after an import and never within it."""

from django.db import models

from labelhub.fields import ShareField

from .tasks import Task


class TextStatistics(models.Model):
    """The figures of one task's text; ratios from 0 to 1.

    `samples.quality.measure` says what they mean, and `samples.perplexity` of the last three, which stay empty in a
    project with few texts.
    """

    task = models.OneToOneField(Task, models.CASCADE, primary_key=True, related_name="statistics")
    word_number = models.PositiveIntegerField("words")
    character_number = models.PositiveIntegerField("characters")
    repetitive_char_ratio = ShareField("repetition")
    special_char_ratio = ShareField("special characters")
    flagged_word_ratio = ShareField("flagged words")
    language = models.CharField("recognised language", max_length=16, blank=True)
    language_probability = ShareField()
    perplexity = models.FloatField(null=True, blank=True)
    bits_per_byte = models.FloatField("surprise (bits a byte)", null=True, blank=True)
    told_among = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The size of the project, in this text's locale, that its perplexity was told at.",
    )

    class Meta:
        verbose_name = verbose_name_plural = "text statistics"

    def __str__(self):
        return f"figures of task {self.task_id}"
