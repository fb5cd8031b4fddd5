"""`manage.py remove_expired_files`: what the workers do by themselves every few hours, now."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from exports import retention


class Command(BaseCommand):
    help = "Remove the files of batches written longer ago than EXPORT_RETENTION_DAYS; the batches stay."

    def add_arguments(self, parser):
        parser.add_argument("--days", type=float, help="another number of days, this once")

    def handle(self, *, days, **options):
        if days is not None and not days > 0:
            raise CommandError(f"--days is {days:g}; it must be more than 0")
        if not (days or settings.EXPORT_RETENTION_DAYS):
            raise CommandError("files are kept for ever: set EXPORT_RETENTION_DAYS, or give --days")
        self.stdout.write(f"files removed of {retention.remove_expired(days)} batches")
