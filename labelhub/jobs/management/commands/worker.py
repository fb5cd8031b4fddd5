"""`manage.py worker`: do the waiting jobs."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from labelhub.health import pending_migrations
from labelhub.jobs.worker import WorkerThreads, end_process, stop_on_signals


class Command(BaseCommand):
    help = "Do the waiting jobs until told to stop. Start as many as you like: a job is done by one of them."

    def add_arguments(self, parser):
        parser.add_argument("--threads", type=int, default=1, help="jobs done at the same time (1)")
        parser.add_argument("--until-empty", action="store_true", help="end when no job is due")

    def handle(self, *, threads, until_empty, **options):
        if threads < 1:
            raise CommandError(f"--threads is {threads}; it must be 1 or more")
        if pending_migrations():
            raise CommandError("the database lacks migrations: run `manage.py migrate` first")
        workers = WorkerThreads(threads, until_empty=until_empty)
        with stop_on_signals(workers.ask_to_stop), workers:
            self.stdout.write(
                f"Working on jobs: {threads} at a time, lease {settings.JOB_LEASE_SECONDS:g} s. Ctrl-C stops."
            )
            self.stdout.flush()
            workers.wait()
        if workers.failure:
            raise CommandError(f"stopped by {type(workers.failure).__name__}: {workers.failure}")
        if not workers.ended:
            end_process()
