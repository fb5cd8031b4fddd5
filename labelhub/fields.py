"""Columns whose values read the same on every database: JSON kept as its text, shares kept to four decimals."""

import json

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def dump_json(value):
    """`value` as compact JSON text, keys in their order, nothing escaped but what JSON needs; ValueError for NaN."""
    return _encoder.encode(value)


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


class ShareField(models.FloatField):
    """A share from 0 to 1, kept to four decimals: so few digits are written alike by Python, SQLite and PostgreSQL."""

    default_validators = [MinValueValidator(0.0), MaxValueValidator(1.0)]

    def get_prep_value(self, value):
        value = super().get_prep_value(value)
        return None if value is None else round(value, 4)
