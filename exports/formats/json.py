"""JSON array of whole records, as DLoopIQ's GET /api/v1/exports?format=json."""

from .shape import Array, Column, Label, Moment

json = Array(
    name="json",
    label="JSON",
    shape={
        "id": Column("uid"),
        "type": Column("type"),
        "content": Column("content"),
        "label": Label(),
        "confidence": Column("confidence"),
        "locale": Column("locale"),
        "validatedAt": Moment("validated_at"),
    },
)
