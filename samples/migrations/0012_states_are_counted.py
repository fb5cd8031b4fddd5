"""The table of how many tasks and samples are in each state; the triggers that fill it come after `migrate` (samples/counting.py)."""

import django.db.models.deletion
from django.db import migrations, models

from samples import counting


def stop_counting(apps, schema_editor):
    """Before the table goes, or whoever writes a task would look for it."""
    with schema_editor.connection.cursor() as cursor:
        counting.remove(cursor, schema_editor.connection.vendor)


class Migration(migrations.Migration):
    dependencies = [("samples", "0011_plain_texts_are_known")]
    operations = [
        migrations.CreateModel(
            name="StatusCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("noun", models.CharField(choices=[("task", "task"), ("sample", "sample")], max_length=6)),
                ("status", models.CharField(max_length=10)),
                ("number", models.BigIntegerField()),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="samples.project",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="samples.source",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["project", "noun", "source", "status"], name="status_count_of")],
            },
        ),
        migrations.RunPython(migrations.RunPython.noop, stop_counting),
    ]
