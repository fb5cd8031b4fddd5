"""Is the hub alive, and is it ready? Two pages for whoever watches over it."""

from django.db import Error as DatabaseFailure
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


def pending_migrations() -> list[str]:
    """The migrations this code has and the database lacks, as app.name."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


@require_safe
@never_cache
def healthz(request):
    """The process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request):
    """The database answers, and it has every migration: 200; otherwise 503 and the reason."""
    try:
        pending = pending_migrations()
    except DatabaseFailure:  # what it says may hold host names and users: that is for the log, not for strangers
        return JsonResponse({"status": "not ready", "reason": "the database does not answer"}, status=503)
    if pending:
        reason = f"{len(pending)} migrations are not applied"
        return JsonResponse({"status": "not ready", "reason": reason}, status=503)
    return JsonResponse({"status": "ok"})
