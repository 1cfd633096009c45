"""How a run is made together with everything that shows it: certificates, pictures, tables and the page."""

from __future__ import annotations

from pathlib import Path

from smoothseg.report import html
from smoothseg.report.formats import write_tables
from smoothseg.report.illustrating import Pictures
from smoothseg.report.rows import Row, rows
from smoothseg.runs import logs
from smoothseg.runs.executing import execute
from smoothseg.runs.listener import Listener
from smoothseg.runs.logs import log
from smoothseg.runs.preparing import Prepared

__all__ = ["run"]


def run(
    prepared: Prepared,
    directory: Path,
    *,
    batch_size: int = 1,
    fresh: bool = False,
    listener: Listener | None = None,
) -> list[Row]:
    """Make or complete the run of `prepared` in `directory`, and return the rows of its result.

    batch_size, fresh, listener: as in `runs.executing.execute`, which also says what is raised.
    """
    pictures = Pictures(prepared, directory)
    with logs.writing(directory / "log.txt", held=True):
        execute(
            prepared, directory, batch_size=batch_size, fresh=fresh, listener=listener, illustrator=pictures
        )
        log.info("writing tables and report")
        result = rows(directory)
        write_tables(directory, result)
        html.write(directory)
        log.info("finished")
    return result
