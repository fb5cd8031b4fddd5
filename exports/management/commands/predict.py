"""`manage.py predict MODEL`: let a model guess the labels of tasks."""

from django.core.management.base import BaseCommand, CommandError

from exports import predicting
from labelhub.facts import Fact
from labelhub.jobs.models import Job
from labelhub.jobs.worker import bring_to_end
from samples.models import Task


class Command(BaseCommand):
    help = (
        "Let a model guess the labels of the tasks of its project that still wait for answers, or of those chosen. "
        "A worker does it; with --wait this command does, if no worker is faster. Twice changes nothing."
    )

    def add_arguments(self, parser):
        parser.add_argument("model", help="as reviews@3, or reviews@prod by its tag")
        parser.add_argument("--status", action="append", choices=Task.Status.values, help="may be given several times")
        parser.add_argument("--source", help="only tasks of the source of that name")
        parser.add_argument("--id", action="append", dest="ids", metavar="ID", help="only this task; several times")
        parser.add_argument("--wait", action="store_true", help="return when it has ended, and say what came of it")

    def handle(self, *, model, status, source, ids, wait, **options):
        asked = {"status": status, "source": source, "ids": ids}
        selection = {name: value for name, value in asked.items() if value}
        try:
            version = predicting.version_named(model)
            tasks = Task.objects.filter(project=version.project)
            if ids:
                tasks = tasks.filter(uid__in=ids)
            if status or not ids:
                tasks = tasks.filter(status__in=status) if status else tasks.open()
            if source:
                tasks = tasks.filter(source__name=source)
            run = predicting.ask(version, tasks, by=None, selection=selection)
        except Fact as fact:
            raise CommandError(fact.message) from fact
        self.stdout.write(f"run {run.pk}: {version} is asked about {run.task_count:,} tasks")
        if wait:
            job = bring_to_end(run.job)
            if job.state != Job.State.DONE:
                raise CommandError(f"{job.get_state_display().lower()}: {job.error or 'no reason given'}")
            run.refresh_from_db()
            self.stdout.write(
                f"{run.guessed_count:,} guessed, {run.refused_count:,} without a label, {run.skipped_count:,} left out"
            )
            for said, count in sorted(run.refusals.items(), key=lambda pair: -pair[1]):
                self.stdout.write(f"    {count:6,} × {said}")
