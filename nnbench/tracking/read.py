"""Reading results back from MLflow, in bulk."""

import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnbench.tracking import process, record, store, sweeps

if TYPE_CHECKING:
    from mlflow.entities import Run, RunInfo

MOST_EXPERIMENTS = 10_000
CELL_KINDS = ("cell", "baseline")  # kinds of runs that are one cell each
WITH_RESULT = ("done", "diverged")  # states of an attempt
MOST_DOWNLOADS = 8  # records at once
LOGGED_NETWORK = f"{record.MODEL}/artifacts/{record.NETWORK}"  # among the artifacts of a cell's run


def cell_runs(uri: str | None, experiment: str, *, condition: str = "") -> "list[Run]":
    """Return the runs of the cells of an experiment, networks and baselines, newest first.

    `condition` is added to MLflow's filter.
    """
    uri = store.resolve(uri)
    found = store.client(uri).get_experiment_by_name(experiment)
    if found is None:
        return []
    runs = store.runs(uri, found.experiment_id, f"{store.CELLS}{condition}")
    return [run for run in runs if run.data.tags["nnbench.kind"] in CELL_KINDS]


@dataclass(frozen=True)
class Attempt:
    """One try at a cell, as its run tells it."""

    label: str
    fingerprint: str
    sweep: str
    choices: Mapping[str, str]  # model; of networks optimizer and activation, too
    state: str  # done, diverged (all seeds), running, interrupted or failed
    reason: str = ""  # why there is no result, or how many seeds diverged
    run_id: str = ""
    num_seeds: int = 0  # with a result
    num_diverged: int = 0


def attempts(uri: str | None, experiment: str) -> list[Attempt]:
    """Return every try at every cell of an experiment, newest first."""
    return [_attempt(run) for run in cell_runs(uri, experiment)]


def _attempt(run: "Run") -> Attempt:
    tags, params, metrics = run.data.tags, run.data.params, run.data.metrics
    groups = ("model",) if tags["nnbench.kind"] == "baseline" else ("model", "optimizer", "activation")
    state, reason = _state(run)
    with_result = state in WITH_RESULT
    return Attempt(
        run.info.run_name,
        tags["nnbench.fingerprint"],
        tags["nnbench.sweep"],
        {group: params.get(group, "?") for group in groups},
        state,
        reason,
        run.info.run_id,
        round(metrics.get("seeds", 0)) if with_result else 0,
        round(metrics.get("seeds_diverged", 0)) if with_result else 0,
    )


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
    uri = store.resolve(uri)
    source = store.client(uri).get_run(run_id).info.artifact_uri
    job_folder.mkdir(parents=True, exist_ok=True)
    with record.new_folder(job_folder) as folder:
        store.artifacts(uri, source).download_artifacts("", str(folder))
        record.check(folder, besides=record.MODEL)
        (folder / record.MANIFEST).unlink()
    published = {"run_id": run_id, "uri": store.without_credentials(uri)}
    (job_folder / record.PUBLISHED).write_text(json.dumps(published), encoding="utf-8")
    return job_folder / record.FOLDER


def fetch_newest(
    uri: str | None, experiment: str, folder: Path, *, fingerprints: Collection[str] | None = None
) -> tuple[dict[str, record.Record], dict[str, str]]:
    """Return the newest record of each fingerprint by run id, in the order of training; of those with a result, if any.

    Records on this machine are read where they lie, others are brought into `folder`; none may be changed.
    `fingerprints` keeps those alone. Runs that are still open have no record yet and are left out; those whose record
    is damaged or gone are the second result, their names by run id.
    """
    uri = store.resolve(uri)
    chosen = None if fingerprints is None else set(fingerprints)
    newest: dict[str, Run] = {}
    runs = cell_runs(uri, experiment)
    for status in ("FINISHED", "FAILED"):  # a result stays one, whatever failed after it
        for run in runs:
            fingerprint = run.data.tags["nnbench.fingerprint"]
            if run.info.status == status and (chosen is None or fingerprint in chosen):
                newest.setdefault(fingerprint, run)
    del runs
    infos = sorted([run.info for run in reversed(newest.values())], key=lambda info: info.start_time)
    del newest  # the records say it all; 10,000 runs fill a gigabyte
    records: dict[str, record.Record] = {}
    damaged: dict[str, str] = {}

    def opened(info: "RunInfo") -> record.Record | None:
        try:
            # MLflow keeps the model elsewhere.
            return record.read(_brought(uri, info.artifact_uri, folder / info.run_id), besides=record.MODEL)
        except (OSError, ValueError):
            return None

    with ThreadPoolExecutor(MOST_DOWNLOADS) as pool:
        for info, found in zip(infos, pool.map(opened, infos), strict=True):
            if found is None:
                damaged[info.run_id] = info.run_name
            else:
                records[info.run_id] = found
    return records, damaged


def _brought(uri: str, artifact_uri: str, folder: Path) -> Path:
    """Return the folder in which a run's artifacts lie on this machine: their own, or `folder`, after a download."""
    if (own := store.local_folder(artifact_uri)) is not None:
        return own
    folder.mkdir(parents=True, exist_ok=True)
    return Path(store.artifacts(uri, artifact_uri).download_artifacts("", str(folder)))


def fingerprints_of(uri: str | None, experiment: str, sweep: str) -> list[str]:
    """Return the fingerprints of the cells of a sweep, those included that it found finished."""
    if plan := sweeps.find(uri, experiment, sweep):
        return list(plan["fingerprints"])
    runs = cell_runs(uri, experiment)
    return [run.data.tags["nnbench.fingerprint"] for run in runs if run.data.tags["nnbench.sweep"] == sweep]
