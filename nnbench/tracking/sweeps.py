"""Sweeps in MLflow: what each one is to train, so that anyone can see later what is missing.

A sweep is a run of the kind "sweep" with one artifact, its list of cells. It is closed at once: it records a plan, not
a process.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnbench.tracking import process, store

PLAN = "sweep.json"


def announce(uri: str | None, experiment: str, plan: Mapping[str, Any]) -> None:
    """Write down what a sweep is to train; `plan` is JSON with the sweep's id as `sweep`."""
    uri = store.resolve(uri)
    client = store.client(uri)
    tags = {
        "nnbench.kind": "sweep",
        "nnbench.sweep": plan["sweep"],
        "nnbench.process": process.mark(),
        "mlflow.source.name": plan["command"],
    }
    run = client.create_run(store.experiment_id(uri, experiment), tags=tags, run_name=f"sweep {plan['sweep']}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PLAN)
        path.write_text(json.dumps(plan), encoding="utf-8")
        client.log_artifact(run.info.run_id, str(path))
    client.set_terminated(run.info.run_id)


def known(uri: str | None, experiment: str) -> list[str]:
    """Return the ids of the sweeps of an experiment, newest first."""
    uri = store.resolve(uri)
    found = store.client(uri).get_experiment_by_name(experiment)
    runs = store.runs(uri, found.experiment_id, "tags.`nnbench.kind` = 'sweep'") if found else []
    return [run.data.tags["nnbench.sweep"] for run in runs]


def find(uri: str | None, experiment: str, sweep: str | None = None) -> dict[str, Any] | None:
    """Return what a sweep was to train, by default the newest of the experiment; None if there is no such sweep."""
    uri = store.resolve(uri)
    client = store.client(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    condition = "tags.`nnbench.kind` = 'sweep'"
    runs = store.runs(uri, found.experiment_id, condition)
    runs = [run for run in runs if sweep is None or run.data.tags["nnbench.sweep"] == sweep]
    for run in runs:
        if not any(entry.path == PLAN for entry in client.list_artifacts(run.info.run_id)):
            continue  # killed before its list was there
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = Path(client.download_artifacts(run.info.run_id, PLAN, folder))
                plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):  # damaged
                continue
        return plan
    return None
