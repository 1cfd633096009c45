"""What a finished or unfinished run is shown as: tables and files here, pictures in `smoothseg.report.pictures`.

It imports no torch, and neither rich nor PIL before something is shown.
"""

from __future__ import annotations

from smoothseg.report.formats import FORMATS, Format, csv, json, markdown, per_class, table, text
from smoothseg.report.rows import Row

__all__ = ["FORMATS", "Format", "Row", "csv", "json", "markdown", "per_class", "table", "text"]
