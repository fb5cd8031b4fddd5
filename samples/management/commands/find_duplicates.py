"""manage.py find_duplicates --project P: the texts of a project that are nearly the same."""

import argparse

from django.core.management.base import BaseCommand, CommandError

from labelhub.facts import Fact
from samples import duplicates
from samples.models import Project, Task

SHOWN = 10


class Command(BaseCommand):
    help = "Find the texts of a project that are nearly the same, and print them cluster by cluster, then the counts."

    def add_arguments(self, parser: argparse.ArgumentParser):
        parser.add_argument("--project", required=True)
        parser.add_argument(
            "--threshold",
            type=float,
            default=duplicates.THRESHOLD,
            help="least similarity of two texts, %(default)s where nothing is said; only at that one is it remembered",
        )
        parser.add_argument(
            "--members", type=int, default=SHOWN, help="how many texts of a cluster are printed (%(default)s)"
        )

    def handle(self, *args, project, threshold, members, **options):
        try:
            found = Project.objects.get(name=project)
            self._print(found, duplicates.find_duplicates(found, threshold=threshold), members)
        except Project.DoesNotExist:
            raise CommandError(f"no project {project!r}") from None
        except Fact as fact:
            raise CommandError(fact.message) from fact

    def _print(self, project, clusters, most):
        count = texts = 0
        for name, tasks in clusters:
            count += 1
            texts += len(tasks)
            self.stdout.write(f"cluster {name}: {len(tasks)} texts")
            for task in Task.objects.filter(pk__in=tasks[:most]).order_by("pk"):
                self.stdout.write(f"  {task.external_id}\t{task}")
            if len(tasks) > most:
                self.stdout.write(f"  … and {len(tasks) - most} more")
        self.stdout.write(
            f"{project.name}: {count} clusters, {texts} of {project.tasks.count()} texts in them, "
            f"{texts - count} to leave out if one of each is kept"
        )
