"""The project's manage.py with the tests' jobs on the menu: `python -m tests.jobs.manage worker`."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
    import tests.jobs.kinds  # noqa: F401  (registers them)

    if sys.argv[1] == "celery":
        from labelhub.jobs.celery import app

        app.worker_main(sys.argv[2:])
    else:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
