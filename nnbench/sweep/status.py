"""Which cells of a sweep have a result: as the store tells, and the records below the current folder that it lacks."""

from pathlib import Path

from nnbench.tracking import record
from nnbench.tracking.coverage import Coverage, of_sweep


def coverage(uri: str, study: str, sweep: str | None = None) -> Coverage | None:
    """Return the coverage of a sweep, by default the newest of the study; None if the store knows neither."""
    return of_sweep(uri, study, sweep, waiting=_waiting(study))


def _waiting(study: str) -> dict[str, list[record.Record]]:
    """Return the records of a study below the current folder that MLflow lacks, newest first, by fingerprint."""
    waiting: dict[str, list[record.Record]] = {}
    for folder in record.unpublished(Path.cwd()):
        try:
            cell = record.read(folder)
        except ValueError:  # damaged: as good as missing
            continue
        if cell.experiment == study:
            waiting.setdefault(cell.identity.fingerprint, []).insert(0, cell)
    return waiting
