"""The background work of samples: importing files too large for a request."""

from labelhub.jobs.kinds import job

from .intake import uploads


def forget_file(job, *, path, **_):
    """The import has failed for good or was cancelled: nobody will read its file again."""
    uploads.forget(path)


@job("samples.import_file", ended=forget_file)
def import_file(progress, *, path: str, project: int, **asked):
    """Import the file at `path`; run again after a death it changes nothing more, for its rows are known by then.

    One transaction holds the whole import, so there is no progress to report from inside: written there it would be
    seen only at the end, and on PostgreSQL it would lock the job's row against the heartbeat.
    """
    progress(0, 1, f"importing {asked['name']}")
    result = uploads.import_kept(project, path=path, by=progress.job.owner, **asked)
    uploads.forget(path)
    return result
