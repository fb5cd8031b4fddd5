"""The background work of exports: writing batches, training models."""

from labelhub.jobs.kinds import job

from . import batching, finetuning, retention, sharding
from .models import Batch, FineTune


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
