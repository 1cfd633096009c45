"""How a run is made together with everything that shows it: certificates, pictures, tables and the page."""

from __future__ import annotations

import contextlib
from pathlib import Path

from smoothseg.report import courses, html
from smoothseg.report.formats import write_tables
from smoothseg.report.illustrating import Pictures
from smoothseg.report.rows import Row, rows
from smoothseg.runs import logs, manifest, results
from smoothseg.runs.executing import execute
from smoothseg.runs.interrupting import Terminated
from smoothseg.runs.listener import Listener
from smoothseg.runs.locking import locked
from smoothseg.runs.logs import log
from smoothseg.runs.preparing import Prepared
from smoothseg.runs.resuming import Extension
from smoothseg.smoothing.stop import Stop

__all__ = ["run"]


def run(
    prepared: Prepared,
    directory: Path,
    *,
    batch_size: int = 1,
    fresh: bool = False,
    timeout: float | None = None,
    retry_failed: bool = False,
    extension: Extension | None = None,
    listener: Listener | None = None,
    stop: Stop | None = None,
) -> list[Row]:
    """Make or complete the run of `prepared` in `directory`, and return the rows of its result.

    The other arguments are those of `runs.executing.execute`, which also says what is raised.
    If the run is interrupted, tables and page of what there is are written before the interruption goes on.

    Raises `RunBusyError` if another process is at work in `directory`.
    """
    pictures = Pictures(prepared, directory)
    with logs.writing(directory / "log.txt", held=True), locked(directory):
        try:
            execute(
                prepared,
                directory,
                batch_size=batch_size,
                fresh=fresh,
                timeout=timeout,
                retry_failed=retry_failed,
                extension=extension,
                listener=listener,
                illustrator=pictures,
                stop=stop,
            )
        except (KeyboardInterrupt, Terminated):
            # The reason counts, and not what else may be wrong now, such as a full disk.
            with contextlib.suppress(Exception):
                _show(directory)
            raise
        result = _show(directory)
        log.info("finished")
    return result


def _show(directory: Path) -> list[Row]:
    """Write tables, page and manifest of what is in `directory`."""
    log.info("writing tables and report")
    result = rows(directory)
    identity = results.read_identity(directory)
    write_tables(directory, result, courses=courses.csv(results.entries(directory, identity)))
    html.write(directory)
    manifest.write(directory)
    return result
