"""The background work of exports: writing batches, training models."""

from labelhub.jobs.kinds import job
from samples.models import Project

from . import batching, doubting, finetuning, predicting, retention, sharding
from .models import Batch, FineTune, ModelVersion, PredictionRun


@job("exports.write_batch", ended=batching.ended)
def write_batch(progress, batch: int):
    found = Batch.objects.get(pk=batch)
    if found.is_sharded:
        return {"batch": str(found.uuid), "shards": sharding.plan(found, progress)}
    batching.write(found, progress)
    return {"batch": str(found.uuid), "path": found.path, "sha256": found.sha256}


@job("exports.write_shard", ended=sharding.ended)
def write_shard(progress, batch: int, shard: int):
    found = sharding.write(batch, shard, progress)
    return {"shard": found.name, "rows": found.row_count, "sha256": found.sha256}


@job("exports.finetune", ended=finetuning.ended)
def finetune(progress, finetune: int):
    found = FineTune.objects.select_related("batch__project").get(pk=finetune)
    finetuning.run(found, progress)
    return {"finetune": str(found.uuid), "artefact": found.artefact}


@job("exports.remove_expired_files", every=retention.every)
def remove_expired_files(progress):
    progress(0, 1, "removing files that were kept long enough")
    return {"batches": retention.remove_expired()}


@job("exports.predict")
def predict(progress, run: int):
    found = PredictionRun.objects.select_related("version__project", "version__finetune__batch__project").get(pk=run)
    predicting.run(found, progress)
    return {
        "model": str(found.version),
        "tasks": found.task_count,
        "guessed": found.guessed_count,
        "left_out": found.skipped_count,
        "no_label": found.refused_count,
        "refusals": found.refusals,
    }


@job(doubting.KIND)
def doubt(progress, project: int, version: int | None = None):
    judge = ModelVersion.objects.select_related("project", "finetune__batch").get(pk=version) if version else None
    return doubting.run(Project.objects.get(pk=project), judge, progress)
