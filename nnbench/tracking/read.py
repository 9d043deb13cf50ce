"""Reading results back from MLflow, in bulk."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnbench.tracking import process, record, store, sweeps

if TYPE_CHECKING:
    from mlflow.entities import Run

MOST_EXPERIMENTS = 10_000
LOGGED_NETWORK = f"{record.MODEL}/artifacts/{record.NETWORK}"  # among the artifacts of a cell's run


def cell_runs(uri: str | None, experiment: str, *, condition: str = "") -> "list[Run]":
    """Return the runs of the cells of an experiment, newest first; `condition` is added to MLflow's filter."""
    uri = store.resolve(uri)
    found = store.client(uri).get_experiment_by_name(experiment)
    if found is None:
        return []
    return store.runs(uri, found.experiment_id, f"tags.`nnbench.kind` = 'cell'{condition}")


@dataclass(frozen=True)
class Attempt:
    """One try at a cell, as its run tells it."""

    label: str
    fingerprint: str
    sweep: str
    choices: Mapping[str, str]  # optimizer and activation
    state: str  # done, diverged (all seeds), running, interrupted or failed
    reason: str  # why there is no result, or how many seeds diverged


def attempts(uri: str | None, experiment: str) -> list[Attempt]:
    """Return every try at every cell of an experiment, newest first."""
    return [
        Attempt(
            run.info.run_name,
            run.data.tags["nnbench.fingerprint"],
            run.data.tags["nnbench.sweep"],
            {group: run.data.params.get(group, "?") for group in ("optimizer", "activation")},
            *_state(run),
        )
        for run in cell_runs(uri, experiment)
    ]


def _state(run: "Run") -> tuple[str, str]:
    tags, metrics = run.data.tags, run.data.metrics
    match run.info.status:
        case "FINISHED":
            diverged, seeds = round(metrics.get("seeds_diverged", 0)), round(metrics.get("seeds", 0))
            state = "diverged" if tags.get("nnbench.status") == "diverged" else "done"
            return state, f"{diverged} of {seeds} seeds diverged" if diverged else ""
        case "FAILED":
            return "failed", tags.get("nnbench.reason", "")
        case "RUNNING" if not process.is_gone(tags.get("nnbench.process", "")):
            return "running", ""
        case _:
            return "interrupted", tags.get("nnbench.reason", "its process is gone")


def runs_by_id(uri: str, beginning: str) -> "list[Run]":
    """Return the runs of a store at a resolved URI whose id starts so, no more than two of them."""
    client = store.client(uri)
    experiments = [found.experiment_id for found in client.search_experiments(max_results=MOST_EXPERIMENTS)]
    return list(client.search_runs(experiments, f"attributes.run_id LIKE '{beginning}%'", max_results=2))


def fetch_network(uri: str, run_id: str, folder: Path) -> Path:
    """Bring the network that a cell's run has logged into a folder; return its file."""
    return Path(store.client(uri).download_artifacts(run_id, LOGGED_NETWORK, str(folder)))


def finished_cells(uri: str | None, experiment: str) -> dict[str, str]:
    """Return the run of each fingerprint that has a result; of several the newest."""
    finished: dict[str, str] = {}
    for run in cell_runs(uri, experiment, condition=" AND attributes.status = 'FINISHED'"):
        finished.setdefault(run.data.tags["nnbench.fingerprint"], run.info.run_id)
    return finished


def fetch(uri: str | None, run_id: str, job_folder: Path) -> Path:
    """Bring the record of a cell back into a job's folder; return the record folder."""
    client = store.client(store.resolve(uri))
    job_folder.mkdir(parents=True, exist_ok=True)
    with record.new_folder(job_folder) as folder:
        for entry in client.list_artifacts(run_id):
            if not entry.is_dir:
                client.download_artifacts(run_id, entry.path, str(folder))
        record.check(folder, besides=record.MODEL)
        (folder / record.MANIFEST).unlink()
    published = {"run_id": run_id, "uri": store.resolve(uri)}
    (job_folder / record.PUBLISHED).write_text(json.dumps(published), encoding="utf-8")
    return job_folder / record.FOLDER


def fetch_newest(
    uri: str | None, experiment: str, folder: Path, *, fingerprints: Collection[str] | None = None
) -> tuple[dict[str, record.Record], dict[str, str]]:
    """Bring the newest record of each fingerprint into `folder`; return them by run id, in the order of training.

    `fingerprints` keeps those alone. Runs that are still open have no record yet and are left out; those whose record
    is damaged or gone are the second result, their names by run id.
    """
    newest: dict[str, Run] = {}
    for run in cell_runs(uri, experiment):
        fingerprint = run.data.tags["nnbench.fingerprint"]
        if run.info.status in ("FINISHED", "FAILED") and (fingerprints is None or fingerprint in fingerprints):
            newest.setdefault(fingerprint, run)
    records: dict[str, record.Record] = {}
    damaged: dict[str, str] = {}
    for run in reversed(newest.values()):
        run_id = run.info.run_id
        try:
            records[run_id] = record.read(fetch(uri, run_id, folder / run_id))
        except (OSError, ValueError):
            damaged[run_id] = run.info.run_name
    return records, damaged


def fingerprints_of(uri: str | None, experiment: str, sweep: str) -> list[str]:
    """Return the fingerprints of the cells of a sweep, those included that it found finished."""
    if plan := sweeps.find(uri, experiment, sweep):
        return list(plan["fingerprints"])
    runs = cell_runs(uri, experiment)
    return [run.data.tags["nnbench.fingerprint"] for run in runs if run.data.tags["nnbench.sweep"] == sweep]
