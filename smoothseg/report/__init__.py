"""What a finished or unfinished run is shown as: tables and files here, pictures in `smoothseg.report.pictures`.

It imports no torch, and neither rich nor PIL before something is shown.
"""

from __future__ import annotations

from smoothseg.report.formats import FORMATS, Format
from smoothseg.report.markup import markdown
from smoothseg.report.records import csv, json, per_class
from smoothseg.report.rows import Row
from smoothseg.report.tables import table, text

__all__ = ["FORMATS", "Format", "Row", "csv", "json", "markdown", "per_class", "table", "text"]
