"""Sweeps in MLflow: what each one is to train, so that anyone can see later what is missing.

A sweep is a run of the kind "sweep" with one artifact, its list of cells. It is closed at once: it records a plan, not
a process.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnbench.tracking import process, store
from nnbench.tracking.trouble import StoreError

PLAN = "sweep.json"
DIGEST = "nnbench.plan"  # the tag with the SHA-256 of the list


def announce(uri: str | None, experiment: str, plan: Mapping[str, Any]) -> None:
    """Write down what a sweep is to train; `plan` is JSON with the sweep's id as `sweep`."""
    uri = store.resolve(uri)
    client = store.client(uri)
    content = json.dumps(plan)
    tags = {
        "nnbench.kind": "sweep",
        "nnbench.sweep": plan["sweep"],
        DIGEST: hashlib.sha256(content.encode()).hexdigest(),
        "nnbench.process": process.mark(),
        "mlflow.source.name": plan["command"],
    }
    run = client.create_run(store.experiment_id(uri, experiment), tags=tags, run_name=f"sweep {plan['sweep']}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PLAN)
        path.write_text(content, encoding="utf-8")
        client.log_artifact(run.info.run_id, str(path))
    client.set_terminated(run.info.run_id)


def known(uri: str | None, experiment: str) -> list[str]:
    """Return the ids of the sweeps of an experiment, newest first."""
    uri = store.resolve(uri)
    found = store.find_experiment(uri, experiment)
    announced = "tags.`nnbench.kind` = 'sweep' AND attributes.status = 'FINISHED'"  # or its list is not there
    runs = store.runs(uri, found, announced) if found else []
    return list(dict.fromkeys(run.data.tags["nnbench.sweep"] for run in runs))


def find(uri: str | None, experiment: str, sweep: str | None = None) -> dict[str, Any] | None:
    """Return what a sweep was to train, by default the newest of the experiment; None if there is no such sweep."""
    uri = store.resolve(uri)
    client = store.client(uri)
    found = store.find_experiment(uri, experiment)
    if found is None:
        return None
    runs = store.runs(uri, found, "tags.`nnbench.kind` = 'sweep'")
    runs = [run for run in runs if sweep is None or run.data.tags["nnbench.sweep"] == sweep]
    for run in runs:
        if any(entry.path == PLAN for entry in client.list_artifacts(run.info.run_id)):  # or killed before it was there
            plan = _read(uri, run.info.run_id, run.data.tags.get(DIGEST))
            if plan is not None:
                return plan
    return None


def _read(uri: str, run_id: str, digest: str | None) -> dict[str, Any] | None:
    """Return the list of a sweep's run, None if it is damaged."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            content = Path(store.client(uri).download_artifacts(run_id, PLAN, folder)).read_bytes()
            plan: dict[str, Any] = json.loads(content)
        except StoreError as error:
            if error.kind != "other":
                raise
            return None
        except (OSError, ValueError):
            return None
    return plan if digest in (None, hashlib.sha256(content).hexdigest()) else None
