"""What a store on this machine has, asked of SQLite: before a sweep's first step, as MLflow takes a second to import.

It is read as MLflow 3 writes it. Where the tables look otherwise there is no answer, and MLflow is to be asked.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nnbench.tracking.trouble import StoreError, deleted, of_database, place

BUSY = 20.0  # seconds of patience with a locked database, which are MLflow's, too
FINISHED = """
SELECT runs.run_uuid, runs.name, runs.artifact_uri, mark.value FROM runs
JOIN tags AS mark ON mark.run_uuid = runs.run_uuid AND mark.key = 'nnbench.fingerprint'
JOIN tags AS place ON place.run_uuid = runs.run_uuid AND place.key = 'nnbench.place' AND place.value = 'cell'
WHERE runs.experiment_id = ? AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
ORDER BY runs.start_time DESC, runs.run_uuid
"""
REVISION = re.compile(r"^(down_)?revision\b[^=\n]*=(.*)$", re.MULTILINE)  # as alembic writes it
KNOWN = "SELECT run_uuid FROM runs WHERE run_uuid IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True)
class Finished:
    """A run with a result, with MLflow's names of its properties."""

    run_id: str
    run_name: str
    artifact_uri: str


def ask(uri: str, question: str, values: Sequence[Any] = ()) -> list[tuple] | None:
    """Return the rows of a question to a local store at a resolved URI; None if it has other tables or columns.

    Raises StoreError for a file that cannot be read. What a process that was killed has left half written is taken
    back first, as SQLite does it, which takes the right to write.
    """
    path = Path(place(uri))
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY)) as database:
            return database.execute(question, values).fetchall()
    except sqlite3.Error as error:
        if "no such table" in str(error) or "no such column" in str(error):
            return None
        raise of_database(path, str(error)) from error


def is_of_this_version(uri: str) -> bool:
    """Whether a local store has the schema of the MLflow that is installed, as far as that can be told without it."""
    versions = ask(uri, "SELECT version_num FROM alembic_version")
    return versions is not None and {version for (version,) in versions} == _newest_versions()


def _newest_versions() -> set[str]:
    """Return the schemas of the installed MLflow that no other one comes behind: one, if its files are as we know."""
    newer: set[str] = set()
    older: set[str] = set()
    for folder in find_spec("mlflow").submodule_search_locations or ():  # type: ignore[union-attr]
        for path in Path(folder, "store", "db_migrations", "versions").glob("*.py"):
            for down, line in REVISION.findall(path.read_text(encoding="utf-8")):
                (older if down else newer).update(re.findall(r"[\"'](\w+)[\"']", line))
    return newer - older


def finished(uri: str, experiment: str) -> dict[str, list[Finished]] | None:
    """Return the runs of cells with a result by fingerprint, newest first, as `read.finished_cells` finds them.

    None where MLflow is to be asked. Raises StoreError, also where the experiment is deleted.
    """
    found = ask(uri, "SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = ?", [experiment])
    if found == []:
        return {}
    if found is None or len(found) > 1:
        return None
    ((number, stage),) = found
    if stage == "deleted":
        raise StoreError(deleted(experiment, number), "refusal")
    rows = ask(uri, FINISHED, [number])
    if rows is None:
        return None
    results: dict[str, list[Finished]] = {}
    for *run, mark in rows:
        results.setdefault(mark, []).append(Finished(*run))
    return results


def artifact_uri(uri: str, run_id: str) -> str | None:
    """Return where the artifacts of a run are; None where MLflow is to be asked."""
    rows = ask(uri, "SELECT artifact_uri FROM runs WHERE run_uuid = ?", [run_id])
    return str(rows[0][0]) if rows else None


def may_have_open_runs(uri: str) -> bool:
    """Whether some run is still open, as far as a glance can tell."""
    rows = ask(uri, "SELECT 1 FROM runs WHERE status = 'RUNNING' LIMIT 1")
    return rows is None or bool(rows)


def known_runs(uri: str, run_ids: Iterable[str]) -> set[str] | None:
    """Return those runs that the store has, deleted ones included; None where MLflow is to be asked."""
    rows = ask(uri, KNOWN, [json.dumps(list(run_ids))])
    return None if rows is None else {run_id for (run_id,) in rows}
