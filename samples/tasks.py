"""The background work of samples: importing files too large for a request, and looking over the texts that came in."""

from functools import partial

from labelhub.jobs.kinds import job

from . import looking_over
from .intake import uploads
from .models import Task


def forget_file(job, *, path, **_):
    """The import has failed for good or was cancelled: nobody will read its file again."""
    uploads.forget(path)


@job("samples.import_file", ended=forget_file)
def import_file(progress, *, path: str, project: int, **asked):
    """Import the file at `path`; run again after a death it goes on, for what it has written it knows again."""
    progress(0, 1, f"reading {asked['name']}")
    result = uploads.import_kept(
        project,
        path=path,
        by=progress.job.owner,
        written=lambda done, total: progress(done, total, f"{done:,} of {total:,} rows written"),
        **asked,
    )
    uploads.forget(path)
    return result


@job(looking_over.MEASURE)
def measure_texts(progress, *, project: int):
    """Measure the texts of a project that have no figures yet, and tell how surprising they are beside the others."""
    tasks = Task.objects.filter(project=project)
    measured = looking_over.measure_texts(tasks, told=partial(_tell, progress, "measured"))
    compared = looking_over.tell_perplexities(project, told=partial(_tell, progress, "set beside the others"))
    return {"measured": measured, "perplexities": compared}


@job(looking_over.COMPARE)
def find_duplicates(progress, *, project: int):
    """Compare the texts of a project that were never compared."""
    tasks = Task.objects.filter(project=project)
    return {"compared": looking_over.compare_texts(tasks, told=partial(_tell, progress, "compared"))}


def _tell(progress, what, done, total):
    done = min(done, total)
    progress(done, total, f"{done:,} of {total:,} texts {what}")
