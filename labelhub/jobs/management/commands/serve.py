"""`manage.py serve`: the whole hub in one command, pages and API and background jobs.

The job threads live in this, the outermost process, and the pages in its children: a heavy job does not slow the pages
down (no GIL is shared), a crashed web process is replaced, and the children end when this process does, even by kill -9.
"""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.utils.module_loading import import_string

from labelhub import serving
from labelhub.health import pending_migrations
from labelhub.jobs.worker import WorkerThreads, end_process, stop_on_signals


class Command(BaseCommand):
    help = "Serve the admin and the API, and do the background jobs, until told to stop."

    def add_arguments(self, parser):
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--workers", type=int, default=2, help="web processes (2)")
        parser.add_argument("--threads", type=int, default=8, help="requests each of them answers at a time (8)")
        parser.add_argument("--jobs", type=int, default=2, help="background jobs done at a time (2)")
        parser.add_argument("--no-worker", action="store_true", help="do no jobs here: `manage.py worker` does them")
        parser.add_argument("--migrate", action="store_true", help="apply missing migrations first")
        parser.add_argument("--demo", action="store_true", help="say how to log in to the demo")

    def handle(self, *, host, port, workers, threads, jobs, no_worker, migrate, demo, **options):
        for name, value in {"workers": workers, "threads": threads, "jobs": jobs}.items():
            if value < 1:
                raise CommandError(f"--{name} is {value}; it must be 1 or more")
        try:
            serving.check_free(host, port)
        except OSError as error:
            raise CommandError(f"cannot listen on {host} port {port}: {error.strerror}") from error
        self._check_database(migrate)
        if serving.collect_static():
            self.stdout.write("Collected the static files.")

        if no_worker or settings.JOBS_BACKEND != "database":
            jobs = 0
        job_threads = WorkerThreads(jobs)
        server = serving.web_server(host, port, workers=workers, threads=threads)

        def stop():
            job_threads.ask_to_stop()
            server.signal_handler_interrupt()

        self._say_where(host, port, jobs, demo)
        try:
            with stop_on_signals(stop) as take_signals, job_threads:
                server.on_startup(take_signals)
                server.serve(target_loader=serving.load_application, wrap_loader=False)
        finally:
            if not job_threads.ended:
                end_process()

    def _check_database(self, migrate):
        if migrate:
            call_command("migrate", verbosity=0)
        elif pending := pending_migrations():
            raise CommandError(
                f"the database lacks {len(pending)} migrations ({pending[0]} first): "
                "run `manage.py migrate`, or serve with --migrate"
            )
        connections.close_all()

    def _say_where(self, host, port, jobs, demo):
        shown = f"[{host}]" if ":" in host else host
        done = f"{jobs} background jobs at a time" if jobs else "no background jobs here"
        self.stdout.write(f"LabelHub is at http://{shown}:{port}/admin/ ({done}). Ctrl-C stops.")
        if demo:
            name, password = import_string("labelhub.demo.DEMO_USER"), import_string("labelhub.demo.DEMO_PASSWORD")
            if get_user_model().objects.filter(username=name).exists():
                self.stdout.write(f"Log in as {name} with the password {password}")
            else:
                self.stdout.write("There is no demo log-in here yet: `make demo` makes it.")
        self.stdout.flush()
