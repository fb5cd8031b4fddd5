"""Batches beside the database's own ways: claiming, planning a split, writing with hash and manifest."""

from django.db import connection, transaction

from exports import batching, destinations, rows, splits
from exports.models import Batch, BatchItem
from labelhub.accounts.models import User
from labelhub.jobs.models import Job

TABLE, COPY = BatchItem._meta.db_table, "bench_claims"
EMPTY = {"postgresql": "TRUNCATE", "sqlite": "DELETE FROM"}  # no dead rows are left for the next run to read


class Bench:
    """One project's samples, claimed and set free again as often as it takes."""

    def __init__(self, samples):
        self.samples = samples
        self.by = User.objects.get_or_create(username="bench", defaults={"is_superuser": True})[0]

    def gather(self, **how) -> Batch:
        return batching.gather(self.samples, by=self.by, **{"format": "jsonl"} | how)

    def free(self) -> None:
        """No batch is left, and no file: who writes the next one finds as much memory free as the driver does."""
        mine = Batch.objects.filter(created_by=self.by)
        for batch in mine.exclude(path=""):
            destinations.remove(destinations.storage_of(batch.destination), *batching.paths_of(batch))
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {COPY}")
            cursor.execute(f"{EMPTY[connection.vendor]} {TABLE}")
        mine.delete()
        Job.objects.all().delete()

    def bare_claim(self) -> None:
        """INSERT … SELECT of the same ids into a table with the same columns, indexes and constraints."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {COPY} (batch_id, sample_id, split, is_claim) SELECT %s, id, 0, %s FROM samples_sample"
                " WHERE project_id = %s AND status = 'APPROVED' ORDER BY id",
                (self.batch.pk, True, self.samples.first().project_id),
            )

    def prepare_bare(self) -> None:
        self.batch = Batch.objects.create(format="jsonl", destination="local", created_by=self.by)
        with connection.cursor() as cursor:
            for sql in identical(cursor, TABLE, COPY):
                cursor.execute(sql)

    def plan(self) -> None:
        """What a stratified split costs: reading ids, uids and labels, and dealing them."""
        splits.deal(rows.identities(rows.walk(self.samples)), splits.parse("0.8/0.1/0.1"), seed="0", stratify=True)


def identical(cursor, table: str, copy: str) -> list[str]:
    """What makes an empty table `copy` with the columns, indexes and constraints of `table`."""
    if connection.vendor == "postgresql":
        made = [f"CREATE TABLE {copy} (LIKE {table} INCLUDING ALL)"]
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype = 'f'",
            [table],
        )
        return made + [f"ALTER TABLE {copy} ADD CONSTRAINT bench_{name} {rule}" for name, rule in cursor.fetchall()]
    cursor.execute("SELECT sql FROM sqlite_master WHERE tbl_name = %s AND sql IS NOT NULL ORDER BY type DESC", [table])
    found = [sql for (sql,) in cursor.fetchall()]
    return [
        sql.replace(f'"{table}"', f'"{copy}"', 1).replace('INDEX "', 'INDEX "bench_', 1)
        if sql.startswith("CREATE TABLE")
        else sql.replace(f' ON "{table}"', f' ON "{copy}"', 1).replace('INDEX "', 'INDEX "bench_', 1)
        for sql in found
    ]
