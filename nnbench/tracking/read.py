"""Reading results back from MLflow, in bulk."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from nnbench.tracking import record, store

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE = 1000  # MLflow returns no more at once


def cell_runs(uri: str | None, experiment: str, *, condition: str = "") -> "list[Run]":
    """Return the runs of the cells of an experiment, newest first; `condition` is added to MLflow's filter."""
    uri = store.resolve(uri)
    client = store.client(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [found.experiment_id],
            filter_string=f"tags.`nnbench.kind` = 'cell'{condition}",
            max_results=PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        runs += page
        token = page.token
        if not token:
            return runs


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
        if not (folder / record.CELL).exists():
            raise ValueError(f"run {run_id} has no {record.CELL} among its artifacts")
    published = {"run_id": run_id, "uri": store.resolve(uri)}
    (job_folder / record.PUBLISHED).write_text(json.dumps(published), encoding="utf-8")
    return job_folder / record.FOLDER


def fetch_newest(
    uri: str | None, experiment: str, folder: Path, *, fingerprints: Collection[str] | None = None
) -> dict[str, record.Record]:
    """Bring the newest record of each fingerprint into `folder`; return them by run id, in the order of training.

    `fingerprints` keeps those alone. Runs that are still open have no record yet and are left out.
    """
    newest: dict[str, Run] = {}
    for run in cell_runs(uri, experiment):
        fingerprint = run.data.tags["nnbench.fingerprint"]
        if run.info.status in ("FINISHED", "FAILED") and (fingerprints is None or fingerprint in fingerprints):
            newest.setdefault(fingerprint, run)
    ids = [run.info.run_id for run in reversed(newest.values())]
    return {run_id: record.read(fetch(uri, run_id, folder / run_id)) for run_id in ids}


def fingerprints_of(uri: str | None, experiment: str, sweep: str) -> list[str]:
    """Return the fingerprints of the cells that a sweep trained."""
    runs = cell_runs(uri, experiment, condition=f" AND tags.`nnbench.sweep` = '{sweep}'")
    return [run.data.tags["nnbench.fingerprint"] for run in runs]
