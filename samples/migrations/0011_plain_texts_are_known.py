"""On PostgreSQL each task and sample knows whether its text holds nothing that JSON writes otherwise.

To look for it, letter by letter, is a third of what an export costs there (up to version 17). The column is the
database's own: it is computed with each row, the models do not know it, and exports/formats/sql.py alone reads it.
"""

from django.db import migrations

TABLES = ("samples_task", "samples_sample")


def add(apps, schema_editor):
    for table in TABLES if schema_editor.connection.vendor == "postgresql" else ():
        schema_editor.execute(
            rf"""ALTER TABLE {table} ADD COLUMN content_is_plain boolean NOT NULL"""
            rf""" GENERATED ALWAYS AS (content !~ '[\u0001-\u001f"\\]') STORED"""
        )


def remove(apps, schema_editor):
    for table in TABLES if schema_editor.connection.vendor == "postgresql" else ():
        schema_editor.execute(f"ALTER TABLE {table} DROP COLUMN content_is_plain")


class Migration(migrations.Migration):
    dependencies = [("samples", "0010_perplexity")]
    operations = [migrations.RunPython(add, remove)]
