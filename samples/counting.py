"""The triggers that keep StatusCount true, whoever writes: the ORM, a COPY, an INSERT … SELECT, somebody's psql.

To count a million index entries takes 40 to 100 ms, and lists that tell exact totals did it with every page.

SQLite, which has one writer, keeps a row a state and changes it with each row. On PostgreSQL that row would be a queue
for all who write, so each statement adds a row with what it changed, and one statement in some dozens folds those of
its project into one a state.

They are looked for after every `migrate`, and made, with all rows counted, where one is missing: Django rebuilds a
table on SQLite to alter it, and its triggers are gone then. Whoever changes one renames it (VERSION), so that
databases that have the old one get the new. A migration that rebuilds samples_statuscount itself drops them first.
"""

from django.db import connections, transaction

from .models import Sample, StatusCount, Task

VERSION = "1"
COUNTS = StatusCount._meta.db_table
KEY = "noun, project_id, source_id, status"
NOUN = {Task._meta.db_table: StatusCount.Noun.TASK.value, Sample._meta.db_table: StatusCount.Noun.SAMPLE.value}
SOURCE = {Task._meta.db_table: "source_id", Sample._meta.db_table: "CAST(NULL AS bigint)"}  # samples: by project alone
FOLDED = 0.02  # of PostgreSQL's statements so many fold: a project's state stands in some fifty rows


def install(*, using: str, **_) -> None:
    """Make the triggers of the database `using` where one is missing, and count what is there; once they are made, nothing.

    On PostgreSQL, to make a trigger waits for those who write its table, and keeps others from it until all is counted.
    """
    connection = connections[using]
    if COUNTS not in connection.introspection.table_names():  # migrated back to before there were any
        return
    with transaction.atomic(using=using), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # of several machines that migrate at once, one makes them
            cursor.execute(f"SELECT pg_advisory_xact_lock(hashtext('{COUNTS}'))")
        if triggers(connection.vendor).keys() <= there(cursor, connection.vendor):
            return
        remove(cursor, connection.vendor)
        for made in (*FUNCTIONS[connection.vendor], *triggers(connection.vendor).values()):
            cursor.execute(made)
        cursor.execute(f"DELETE FROM {COUNTS}")
        for table, noun in NOUN.items():
            cursor.execute(
                f"INSERT INTO {COUNTS} ({KEY}, number)"
                f" SELECT '{noun}', project_id, {SOURCE[table]}, status, count(*) FROM {table} GROUP BY 1, 2, 3, 4"
            )


def remove(cursor, vendor: str) -> None:
    """Drop the triggers, those of other versions too."""
    for name in there(cursor, vendor):
        table = next(table for table in NOUN if name.startswith(f"{table}_"))
        cursor.execute(f"DROP TRIGGER {name}" + (f" ON {table}" if vendor == "postgresql" else ""))


def there(cursor, vendor: str) -> set[str]:
    """The names of the triggers that the database has."""
    cursor.execute(
        "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'samples%counted%' AND NOT tgisinternal"
        if vendor == "postgresql"
        else "SELECT name FROM sqlite_master WHERE name LIKE 'samples%counted%' AND type = 'trigger'"
    )
    return {name for (name,) in cursor.fetchall()}


def triggers(vendor: str) -> dict[str, str]:
    """The statements that make them, by name."""
    return {
        f"{table}_counted_{when}_{VERSION}": f"CREATE TRIGGER {table}_counted_{when}_{VERSION} {how}"
        for table in NOUN
        for when, how in (on_postgresql(table) if vendor == "postgresql" else on_sqlite(table)).items()
    }


def keep_apart(*, instance: StatusCount, raw: bool, **_) -> None:
    """Before a count of a fixture is saved: not in the place of one that is there."""
    if raw:
        instance.pk = None


def leave_out(*, instance: StatusCount, raw: bool, using: str, **_) -> None:
    """After a count of a fixture (`loaddata`) was saved: not twice, for the triggers count the rows that it loads."""
    if raw:
        instance.delete(using=using)


# SQLite ---------------------------------------------------------------------------------------------------------------


def on_sqlite(table: str) -> dict[str, str]:
    columns = ["project_id", "status", *(["source_id"] if SOURCE[table] == "source_id" else [])]
    moved = " OR ".join(f"OLD.{column} <> NEW.{column}" for column in columns)
    more, fewer = one_more(table), changed(table, "OLD", "- 1")
    return {
        "insert": f"AFTER INSERT ON {table} BEGIN {more} END",
        "delete": f"AFTER DELETE ON {table} BEGIN {fewer} END",
        "update": f"AFTER UPDATE OF {', '.join(columns)} ON {table} WHEN {moved} BEGIN {fewer} {more} END",
    }


def one_more(table: str) -> str:
    """The row of the new one's state is made where there is none. No upsert: an INSERT OR IGNORE outside would reach it."""
    values = f"'{NOUN[table]}', NEW.project_id, {of_source(table, 'NEW')}, NEW.status, 0"
    made = f"INSERT INTO {COUNTS} ({KEY}, number) SELECT {values}"
    return (
        f"{made} WHERE NOT EXISTS (SELECT 1 FROM {COUNTS} WHERE {same(table, 'NEW')}); {changed(table, 'NEW', '+ 1')}"
    )


def changed(table: str, row: str, by: str) -> str:
    return f"UPDATE {COUNTS} SET number = number {by} WHERE {same(table, row)};"


def same(table: str, row: str) -> str:
    return (
        f"project_id = {row}.project_id AND noun = '{NOUN[table]}'"
        f" AND source_id IS {of_source(table, row)} AND status = {row}.status"
    )


def of_source(table: str, row: str) -> str:
    return f"{row}.source_id" if SOURCE[table] == "source_id" else "NULL"


# PostgreSQL -----------------------------------------------------------------------------------------------------------


def on_postgresql(table: str) -> dict[str, str]:
    call = f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_counted()"
    return {
        "insert": f"AFTER INSERT ON {table} REFERENCING NEW TABLE AS come {call}",
        "delete": f"AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone {call}",
        "update": f"AFTER UPDATE ON {table} REFERENCING NEW TABLE AS come OLD TABLE AS gone {call}",
        "truncate": f"AFTER TRUNCATE ON {table} {call}",
    }


def counter(table: str) -> str:
    """The function that its triggers call, with the rows that a statement took out (`gone`) and put in (`come`)."""
    added = f"INSERT INTO {COUNTS} ({KEY}, number) SELECT '{NOUN[table]}', project_id, {SOURCE[table]}, status"
    here = f"project_id, {SOURCE[table]} AS source_id, status"
    return f"""
CREATE OR REPLACE FUNCTION {table}_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched bigint;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM {COUNTS} WHERE noun = '{NOUN[table]}';
        RETURN NULL;
    ELSIF TG_OP = 'INSERT' THEN
        {added}, count(*) FROM come GROUP BY 1, 2, 3, 4;
        touched := (SELECT project_id FROM come LIMIT 1);
    ELSIF TG_OP = 'DELETE' THEN
        {added}, -count(*) FROM gone GROUP BY 1, 2, 3, 4;
        touched := (SELECT project_id FROM gone LIMIT 1);
    ELSE
        INSERT INTO {COUNTS} ({KEY}, number) SELECT '{NOUN[table]}', project_id, source_id, status, sum(change)
        FROM (SELECT {here}, 1 AS change FROM come UNION ALL SELECT {here}, -1 FROM gone) AS moved
        GROUP BY 1, 2, 3, 4 HAVING sum(change) <> 0;
        touched := (SELECT project_id FROM come LIMIT 1);
    END IF;
    IF random() < {FOLDED} THEN
        PERFORM {COUNTS}_fold(touched);
    END IF;
    RETURN NULL;
END $$"""


# Rows that another transaction is folding, or has not committed, are left to it; nothing is waited for. Where a
# transaction sees the state of its beginning, rows folded since would be an error there, so it leaves all.
FOLD = f"""
CREATE OR REPLACE FUNCTION {COUNTS}_fold(of_project bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') = 'read committed' THEN
        WITH there AS (
            SELECT id FROM {COUNTS} WHERE project_id = of_project FOR UPDATE SKIP LOCKED
        ), folded AS (
            DELETE FROM {COUNTS} WHERE id IN (SELECT id FROM there) RETURNING {KEY}, number
        )
        INSERT INTO {COUNTS} ({KEY}, number)
        SELECT {KEY}, sum(number) FROM folded GROUP BY {KEY} HAVING sum(number) <> 0;
    END IF;
END $$"""

FUNCTIONS: dict[str, list[str]] = {"sqlite": [], "postgresql": [FOLD, *map(counter, NOUN)]}
