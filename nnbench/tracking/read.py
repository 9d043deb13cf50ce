"""Reading results back from MLflow, in bulk."""

import json
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nnbench.tracking import glance, process, record, store, sweeps
from nnbench.tracking.glance import Finished
from nnbench.tracking.trouble import StoreError

if TYPE_CHECKING:
    from mlflow.entities import Run, RunInfo

_Answer = TypeVar("_Answer")
MOST_EXPERIMENTS = 10_000
MOST_ASKED = 200  # runs in one question
CELL_KINDS = ("cell", "baseline")  # kinds of runs that are one cell each
WITH_RESULT = ("done", "diverged")  # states of an attempt
MOST_DOWNLOADS = 8  # records at once
PAUSES = (0.5, 2.0)  # seconds between the attempts to bring a record from a server
ENDED = ("FINISHED", "FAILED", "KILLED")  # how a run can end, what counts most first
LOGGED_NETWORK = f"{record.MODEL}/artifacts/{record.NETWORK}"  # among the artifacts of a cell's run


def cell_runs(uri: str | None, experiment: str, *, condition: str = "") -> "list[Run]":
    """Return the runs of the cells of an experiment, networks and baselines, newest first, one for each attempt.

    A server that answers too late may have made the run of an attempt twice; the one that ended best is its run.
    `condition` is added to MLflow's filter.
    """
    uri = store.resolve(uri)
    found = store.find_experiment(uri, experiment)
    if found is None:
        return []
    run_by_attempt: dict[tuple[str | None, str, int], Run] = {}
    for run in store.runs(uri, found, f"{store.CELLS}{condition}"):
        tags = run.data.tags
        if tags["nnbench.kind"] in CELL_KINDS:
            attempt = tags.get("nnbench.record"), tags["nnbench.fingerprint"], run.info.start_time
            if _rank(run) < _rank(run_by_attempt.setdefault(attempt, run)):
                run_by_attempt[attempt] = run
    return list(run_by_attempt.values())


def _rank(run: "Run") -> int:
    return ENDED.index(run.info.status) if run.info.status in ENDED else len(ENDED)


@dataclass(frozen=True)
class Damaged:
    """A run with a result whose record in the store is not whole: no result any more."""

    name: str
    fingerprint: str
    reason: str  # which file it is, and what is wrong with it


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
    return [attempt_of(run) for run in cell_runs(uri, experiment)]


def attempt_of(run: "Run") -> Attempt:
    """Return the try at a cell that a run is."""
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


def known_runs(uri: str, run_ids: Collection[str]) -> set[str]:
    """Return those runs that the store at a resolved URI has, deleted ones included; none where there is no store."""
    if not run_ids or not store.exists(uri):
        return set()
    if store.is_local(uri) and (found := glance.known_runs(uri, run_ids)) is not None:
        return found
    from mlflow.entities import ViewType

    client = store.client(uri)
    all_of_them = client.search_experiments(view_type=ViewType.ALL, max_results=MOST_EXPERIMENTS)
    experiments, wanted = [experiment.experiment_id for experiment in all_of_them], sorted(run_ids)
    known: set[str] = set()
    for start in range(0, len(wanted), MOST_ASKED):
        some = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + MOST_ASKED])
        runs = client.search_runs(
            experiments, f"attributes.run_id IN ({some})", run_view_type=ViewType.ALL, max_results=MOST_ASKED
        )
        known |= {run.info.run_id for run in runs}
    return known


def fetch_network(uri: str, run_id: str, folder: Path) -> Path:
    """Bring the network that a cell's run has logged into a folder; return its file."""
    return Path(store.client(uri).download_artifacts(run_id, LOGGED_NETWORK, str(folder)))


def finished_cells(uri: str | None, experiment: str, fingerprints: Collection[str] | None = None) -> dict[str, str]:
    """Return the run of each fingerprint that has a result; of several the newest that is whole, see `whole_runs`."""
    return finished_and_damaged(uri, experiment, fingerprints)[0]


def finished_and_damaged(
    uri: str | None, experiment: str, fingerprints: Collection[str] | None = None
) -> tuple[dict[str, str], dict[str, Damaged]]:
    """Return what `finished_cells` does, and the results that are not whole by the id of their run."""
    found = glance.finished(store.resolve(uri), experiment) if _is_here(uri) else None
    if found is None:
        return whole_runs(cell_runs(uri, experiment, condition=" AND attributes.status = 'FINISHED'"), fingerprints)
    return _whole({mark: runs for mark, runs in found.items() if fingerprints is None or mark in fingerprints})


def _is_here(uri: str | None) -> bool:
    """Whether there is a store, in a file of this machine."""
    uri = store.resolve(uri)
    return store.is_local(uri) and store.exists(uri)


def whole_runs(
    runs: "Iterable[Run]", fingerprints: Collection[str] | None = None
) -> tuple[dict[str, str], dict[str, Damaged]]:
    """Return of runs, newest first, the newest whole result by fingerprint, and by id those that are damaged and newer.

    A record on this machine is compared with its manifest, byte for byte. One on a server is taken to be whole until it
    is fetched, as each would have to be brought here. `fingerprints` keeps those alone.
    """
    return _whole(_results(runs, fingerprints))


def _whole(results: "Mapping[str, Sequence[RunInfo | Finished]]") -> tuple[dict[str, str], dict[str, Damaged]]:
    def checked(candidates: Sequence[Any]) -> tuple[Any, list[tuple[Any, str]]]:
        bad = []
        for info in candidates:
            try:
                if (folder := store.local_folder(info.artifact_uri)) is not None:
                    record.check(folder, besides=record.MODEL)
            except (OSError, ValueError) as error:
                bad.append((info, _reason(error)))
            else:
                return info, bad
        return None, bad

    whole: dict[str, str] = {}
    damaged: dict[str, Damaged] = {}
    with ThreadPoolExecutor(MOST_DOWNLOADS) as pool:
        for fingerprint, (info, bad) in zip(results, pool.map(checked, results.values()), strict=True):
            damaged |= {other.run_id: Damaged(other.run_name, fingerprint, reason) for other, reason in bad}
            if info is not None:
                whole[fingerprint] = info.run_id
    return whole, damaged


def _results(runs: "Iterable[Run]", fingerprints: Collection[str] | None) -> "dict[str, list[RunInfo]]":
    """Return the runs with a result by fingerprint, in the order of `runs`; of those fingerprints alone, if given."""
    chosen = None if fingerprints is None else set(fingerprints)
    results: dict[str, list[RunInfo]] = {}
    for run in runs:
        fingerprint = run.data.tags["nnbench.fingerprint"]
        if run.info.status == "FINISHED" and (chosen is None or fingerprint in chosen):
            results.setdefault(fingerprint, []).append(run.info)
    return results


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, record.DamagedError) else f"{type(error).__name__}: {error}"


def fetch(uri: str | None, run_id: str, job_folder: Path) -> Path:
    """Bring the record of a cell back into a job's folder; return the record folder."""
    uri = store.resolve(uri)
    source = glance.artifact_uri(uri, run_id) if _is_here(uri) else None
    if source is None:
        source = store.client(uri).get_run(run_id).info.artifact_uri
    job_folder.mkdir(parents=True, exist_ok=True)
    with record.new_folder(job_folder) as folder:
        if (own := store.local_folder(source)) is not None:
            shutil.copytree(own, folder, dirs_exist_ok=True)
        else:
            store.artifacts(uri, source).download_artifacts("", str(folder))
        record.check(folder, besides=record.MODEL)
        (folder / record.MANIFEST).unlink()
    published = {"run_id": run_id, "uri": store.without_credentials(uri)}
    (job_folder / record.PUBLISHED).write_text(json.dumps(published), encoding="utf-8")
    return job_folder / record.FOLDER


def fetch_newest(
    uri: str | None, experiment: str, folder: Path, *, fingerprints: Collection[str] | None = None
) -> tuple[dict[str, record.Record], dict[str, Damaged]]:
    """Return the newest whole record of each fingerprint by run id, in the order of training; with a result, if any.

    Records on this machine are read where they lie, others are brought into `folder`; none may be changed.
    `fingerprints` keeps those alone. Runs that are still open have no record yet and are left out. The second result
    has, by run id, those whose record is damaged or gone; an older one may be there in their place. Raises StoreError
    if the store is in trouble.
    """
    uri = store.resolve(uri)
    runs = cell_runs(uri, experiment)
    candidates = _results(runs, fingerprints)
    chosen = None if fingerprints is None else set(fingerprints)
    for run in runs:  # a result stays one, whatever failed after it
        fingerprint = run.data.tags["nnbench.fingerprint"]
        if run.info.status == "FAILED" and (chosen is None or fingerprint in chosen):
            candidates.setdefault(fingerprint, [run.info])
    del runs  # the records say it all; 10,000 runs fill a gigabyte
    candidates = dict(reversed(candidates.items()))

    def opened(infos: "Sequence[RunInfo]") -> "tuple[tuple[RunInfo, record.Record] | None, list[tuple[RunInfo, str]]]":
        bad: list[tuple[RunInfo, str]] = []
        for info in infos:
            try:
                brought = _patiently(partial(_brought, uri, info.artifact_uri, folder / info.run_id))
                return (info, record.read(brought, besides=record.MODEL)), bad  # MLflow keeps the model elsewhere
            except StoreError as error:
                if error.kind != "other":
                    raise
                bad.append((info, str(error)))
            except (OSError, ValueError) as error:
                bad.append((info, _reason(error)))
        return None, bad

    found: list[tuple[RunInfo, record.Record]] = []
    damaged: dict[str, Damaged] = {}
    with ThreadPoolExecutor(MOST_DOWNLOADS) as pool:
        for fingerprint, (whole, bad) in zip(candidates, pool.map(opened, candidates.values()), strict=True):
            damaged |= {info.run_id: Damaged(info.run_name, fingerprint, reason) for info, reason in bad}
            if whole is not None:
                found.append(whole)
    found.sort(key=lambda entry: entry[0].start_time)
    return {info.run_id: brought for info, brought in found}, damaged


def _patiently(ask: Callable[[], _Answer]) -> _Answer:
    """Return an answer of the store, which may have an outage for some seconds."""
    for pause in PAUSES:
        try:
            return ask()
        except StoreError as error:
            if error.kind != "outage":
                raise
        time.sleep(pause)
    return ask()


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
