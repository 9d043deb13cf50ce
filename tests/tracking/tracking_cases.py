"""What the tests of the record share: cells trained in this process, and a look into a store without MLflow."""

import hashlib
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
from hydra._internal.utils import get_args_parser

import nnbench.app  # noqa: F401 - registers what `${nnbench:NAME}` stands for
from nnbench import grid
from nnbench.data import Dataset
from nnbench.data.loading import load
from nnbench.grid import Job
from nnbench.nn import Training
from nnbench.protocol.cell import Cell
from nnbench.protocol.doctor import diagnose
from nnbench.protocol.result import CellResult, finish
from nnbench.protocol.stack import merge, start
from nnbench.settings import parse
from nnbench.tracking import record
from nnbench.tracking.contents import history_table
from nnbench.tracking.record import Identity

STARTED = 1_700_000_000.25  # seconds since 1970


@dataclass(frozen=True)
class Trained:
    """A cell as a command line gives it, and what came of it."""

    job: Job
    cell: Cell
    dataset: Dataset
    training: Training
    result: CellResult

    def identity(self, number: int = 0, **changes: Any) -> Identity:
        known = {
            "sweep": "a-sweep",
            "job": number,
            "study": "nnbench",
            "label": self.job.label,
            "command": "python -m nnbench",
            "fingerprint": hashlib.sha256(json.dumps(self.job.config).encode()).hexdigest(),
        }
        return Identity(**known | changes)

    def write(self, job_folder: Path, *, started: float = STARTED, **identity: Any) -> Path:
        """Write its record and return the folder of it."""
        return record.write(
            job_folder,
            self.identity(**identity),
            self.job.config,
            self.job.choices,
            self.dataset,
            self.result,
            started=started,
        )

    def history(self) -> pd.DataFrame:
        return history_table(self.cell.seeds, self.training.history)


def job_of(*overrides: str) -> tuple[Job, dict]:
    """Return the only cell of a command line, with the activations that it could choose from."""
    plan = grid.expand(get_args_parser().parse_args([*overrides]))
    (job,) = plan.jobs
    assert not plan.problems
    return job, plan.activation_choices


def train(*overrides: str, spoilt: int | None = None) -> Trained:
    """Train the cell of a command line; the replica in place `spoilt` starts at infinity and diverges."""
    job, activations = job_of(*overrides)
    cell = parse(job.config, job.choices, activations)
    dataset = load(cell.source, cell.dtype)
    training = start(cell, dataset, cell.seeds)
    if spoilt is not None:
        training.model.params[spoilt] = np.inf
    training.run(dataset.train, dataset.validation)
    trained = merge(cell.seeds, [training])
    finding = diagnose(cell, trained, learning_rate=cell.learning_rate)
    result = CellResult(final=finish(cell, dataset, trained), tuning=None, untuned=None, finding=finding)
    return Trained(job, cell, dataset, training, result)


def write_failure(job_folder: Path, *, number: int = 0, error: str = "no luck") -> Path:
    """Write the record of a cell that failed."""
    job, _ = job_of("dataset=iris", "optimizer=gd", "optimizer.learning_rate=0.5", f"num_epochs={number + 1}")
    identity = Identity(
        sweep="a-sweep",
        job=number,
        study="nnbench",
        label=job.label,
        command="python -m nnbench",
        fingerprint=f"failed{number}",
    )
    return record.write_failure(
        job_folder, identity, job.config, job.choices, error=RuntimeError(error), details="traceback", started=STARTED
    )


def write_interruption(job_folder: Path, trained: Trained, *, reason: str = "stopped") -> Path:
    """Write the record of a cell that was stopped, of the same setting as a trained one."""
    job = trained.job
    return record.write_interruption(
        job_folder, trained.identity(), job.config, job.choices, reason=reason, started=STARTED
    )


def rows(database: Path, query: str, *values: Any) -> list[tuple]:
    """Ask the database file itself."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def contents(database: Path, experiment: str) -> dict[str, Any]:
    """Return all that a store holds of an experiment, with nothing that differs from one publication to the next.

    Everything is counted, so what is there twice is seen.
    """
    runs = rows(
        database,
        "SELECT r.run_uuid, r.status, r.start_time, r.end_time, r.name, r.lifecycle_stage, t.value FROM runs r "
        "JOIN experiments e USING (experiment_id) LEFT JOIN tags t ON t.run_uuid = r.run_uuid "
        "AND t.key = 'nnbench.place' WHERE e.name = ?",
        experiment,
    )
    place_by_id = {run_id: place for run_id, *_, place in runs}
    found: dict[str, Any] = {"runs": Counter(tuple(facts) for _, *facts in runs)}
    for table, columns in {
        "metrics": "key, value, timestamp, step, is_nan",
        "params": "key, value",
        "tags": "key, value",
    }.items():
        all_rows = rows(database, f"SELECT run_uuid, {columns} FROM {table}")
        found[table] = Counter(
            (place_by_id[run_id], *(place_by_id.get(fact, fact) for fact in facts))
            for run_id, *facts in all_rows
            if run_id in place_by_id
        )
    links = rows(database, "SELECT source_type, source_id, destination_type, destination_id FROM inputs")
    found["links"] = Counter(
        (source_type, destination_type)
        for source_type, source, destination_type, destination in links
        if {source, destination} & set(place_by_id)
    )
    models = rows(database, "SELECT source_run_id, name, status, lifecycle_stage FROM logged_models")
    found["models"] = Counter(tuple(facts) for run_id, *facts in models if run_id in place_by_id)
    found["artifacts"] = {
        place: sorted(path.name for path in artifacts(database, run_id).glob("*"))
        for run_id, place in place_by_id.items()
    }
    return found


def artifacts(database: Path, run_id: str) -> Path:
    """Return the folder of a run's artifacts."""
    ((uri,),) = rows(database, "SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id)
    return Path(unquote(uri.removeprefix("file://")))


def cell_run(database: Path, experiment: str) -> str:
    """Return the id of the only cell's run of an experiment."""
    ((run_id,),) = rows(
        database,
        "SELECT r.run_uuid FROM runs r JOIN experiments e USING (experiment_id) JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE e.name = ? AND t.key = 'nnbench.kind' AND t.value = 'cell'",
        experiment,
    )
    return run_id
