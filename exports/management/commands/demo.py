"""`manage.py demo`: the main job on the bundled data."""

import logging
from contextlib import contextmanager

from django.core.management.base import BaseCommand, CommandError

from labelhub import demo
from labelhub.facts import Fact
from labelhub.health import pending_migrations


class Command(BaseCommand):
    help = "Import, annotate, settle, review, export, train and predict on bundled reviews; twice changes nothing."

    def add_arguments(self, parser):
        parser.add_argument("--force", action="store_true", help="even where the database holds other projects")

    def handle(self, *, force, **options):
        if pending_migrations():
            raise CommandError("the database lacks migrations: run `manage.py migrate` first")
        try:
            with quiet("labelhub"):
                demo.run(self.stdout.write, force=force)
        except Fact as fact:
            raise CommandError(fact.message) from fact


@contextmanager
def quiet(name):
    """Within the block only warnings are logged: the demo tells its own story."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
