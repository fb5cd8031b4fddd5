"""JSON Lines, the four fields of DLoopIQ's GET /api/v1/exports?format=jsonl. https://jsonlines.org"""

from .shape import Column, Label, Lines

jsonl = Lines(
    name="jsonl",
    label="JSON Lines",
    shape={"id": Column("uid"), "type": Column("type"), "content": Column("content"), "label": Label()},
)
