"""A JSON column kept as the very text it was written as, so that what came in goes out unchanged."""

import json

from django.core.exceptions import ValidationError
from django.db import models


def dump_json(value):
    """`value` as compact JSON text, keys in their order, nothing escaped but what JSON needs; ValueError for NaN."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class JSONTextField(models.JSONField):
    """JSON stored in a text column.

    PostgreSQL's jsonb reorders keys and SQLite's JSON functions know only 64-bit numbers; text keeps key order, 1 and
    1.0 apart, and integers of any size, and an export can splice it into a line without parsing it. Lookups into the
    document (`field__key=`) are refused: nothing indexes them.
    """

    def get_internal_type(self):
        return "TextField"

    def db_check(self, connection):
        return None

    def from_db_value(self, value, expression, connection):
        return None if value is None else json.loads(value)

    def get_db_prep_value(self, value, connection, prepared=False):
        if value is None or hasattr(value, "as_sql"):
            return value
        return dump_json(value)

    def get_db_prep_save(self, value, connection):
        return self.get_db_prep_value(value, connection)

    def get_transform(self, name):
        return None

    def validate(self, value, model_instance):
        models.Field.validate(self, value, model_instance)
        try:
            dump_json(value)
        except (TypeError, ValueError) as error:
            raise ValidationError(f"not JSON: {error}") from error
