"""`manage.py refresh_finetunes`: see how the fine-tunes under way are doing."""

from django.core.management.base import BaseCommand

from exports import finetuning
from exports.models import FineTune


class Command(BaseCommand):
    help = "Ask after every fine-tune that is under way, and say how each stands."

    def handle(self, **options):
        changed = finetuning.refresh_all()
        for finetune in FineTune.objects.running().select_related("batch__project"):
            trouble = finetune.trouble and f"; no news: {finetune.trouble}"
            self.stdout.write(f"{finetune}: {finetune.get_status_display().lower()}, {finetune.progress} %{trouble}")
        self.stdout.write(f"{changed} changed")
