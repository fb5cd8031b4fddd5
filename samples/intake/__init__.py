"""Intake: rows from a file become tasks.

reading.py knows files (CSV, TSV, JSONL, JSON, Parquet), recognising.py which column is what, answering.py what a label
cell says, importing.py the database.
"""

from .importing import Imported, RowError, import_tasks
from .reading import KINDS, MAX_LINE_BYTES, Layout
from .recognising import Columns, content_id

__all__ = ["KINDS", "MAX_LINE_BYTES", "Columns", "Imported", "Layout", "RowError", "content_id", "import_tasks"]
