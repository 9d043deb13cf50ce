"""Runs that are over before MLflow hears of them, written into a store on this machine in one transaction.

A cell has one for each seed. MLflow's client takes 50 ms for each, in five calls with a session and many questions of
their own; here, all runs of a cell take 10 ms together. The rows are those that the client writes, see the tests.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nnbench.tracking.glance import BUSY
from nnbench.tracking.trouble import of_database, place

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Metric

COLUMNS = {
    "runs": (
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time"),
        *("end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id", "deleted_time"),
    ),
    "tags": ("key", "value", "run_uuid"),
    "params": ("key", "value", "run_uuid"),
    "metrics": ("key", "value", "timestamp", "run_uuid", "step", "is_nan"),
    "latest_metrics": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
}
INSERT = {
    table: f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - no input
    for table, columns in COLUMNS.items()
}
LONGEST_TAG = 8000  # characters; MLflow cuts longer ones


@dataclass(frozen=True, kw_only=True)
class WholeRun:
    """A run as it is in the end; times in milliseconds since 1970."""

    name: str
    status: str
    start_time: int
    end_time: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: "Sequence[Metric]"


def write(uri: str, experiment: "Experiment", runs: Sequence[WholeRun]) -> bool:
    """Write runs into the local store at a resolved URI, all or none; tell whether that could be done.

    It cannot where the tables are not those of MLflow 3, or artifacts have a place of their own. Raises StoreError.
    """
    path = Path(place(uri))
    if not str(experiment.artifact_location).startswith("file:///"):
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY)) as database, database:
            for table, columns in COLUMNS.items():
                found = database.execute("SELECT name FROM pragma_table_info(?)", [table])
                if {name for (name,) in found} != set(columns):
                    return False
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("BEGIN IMMEDIATE")
            for run in runs:
                for table, rows in _rows(run, experiment):
                    database.executemany(INSERT[table], rows)
    except sqlite3.Error as error:
        raise of_database(path, str(error)) from error
    return True


def _rows(run: WholeRun, experiment: "Experiment") -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Yield the rows of a run, table by table, with their columns in the order of COLUMNS."""
    key = uuid4().hex
    user = run.tags["mlflow.user"]
    artifacts = f"{experiment.artifact_location}/{key}/artifacts"
    of_run = (key, run.name, "UNKNOWN", "", "", user, run.status, run.start_time, run.end_time, "", "active")
    yield "runs", [(*of_run, artifacts, int(experiment.experiment_id), None)]
    tags = {**run.tags, "mlflow.runName": run.name}
    yield "tags", [(name, value[:LONGEST_TAG], key) for name, value in tags.items()]
    yield "params", [(name, value, key) for name, value in run.params.items()]
    points = dict.fromkeys((point.key, point.value, point.timestamp, point.step) for point in run.metrics)
    yield "metrics", [(name, value, time, key, step, False) for name, value, time, step in points]
    latest: dict[str, tuple[int, int, float]] = {}
    for name, value, time, step in points:
        latest[name] = max(latest.get(name, (-1, 0, 0.0)), (step, time, value))
    yield "latest_metrics", [(name, value, time, step, False, key) for name, (step, time, value) in latest.items()]
