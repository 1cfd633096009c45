"""How a run is shown, finished or not: tables and files here, pictures in `smoothseg.report.pictures`.

Nothing here decides what is certified or computes a vote. Importing the package loads neither torch nor rich nor PIL.

Private: its import paths may change without notice.
"""

from __future__ import annotations

from smoothseg.report.formats import FORMATS, Format
from smoothseg.report.markup import markdown
from smoothseg.report.records import csv, json, per_class
from smoothseg.report.rows import Row
from smoothseg.report.tables import table, text

__all__ = ["FORMATS", "Format", "Row", "csv", "json", "markdown", "per_class", "table", "text"]
