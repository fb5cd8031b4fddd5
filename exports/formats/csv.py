"""CSV with a header; content always quoted, as DLoopIQ's GET /api/v1/exports?format=csv. RFC 4180."""

from .json import json
from .shape import Table

csv = Table(name="csv", label="CSV", shape=json.columns, always_quoted=frozenset({"content"}))
