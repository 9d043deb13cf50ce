"""The MLflow store: where it is, how it is created safely, and a client for it.

MLflow's own creation of a SQLite store is not safe when raced or killed, so exactly one process creates it, under a
lock, in a temporary file that is renamed into place; every other process finds it ready.
"""

import hashlib
import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output is for results
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; MLflow waits 120
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow tries 7 times
    "GIT_PYTHON_REFRESH": "quiet",
}
CELLS = "tags.`nnbench.place` = 'cell'"  # networks and baselines; MLflow's filters know no OR
VIEW = "nnbench"  # the name under which an experiment keeps the columns that its page shows
VIEW_STATE = {
    "searchFilter": CELLS,
    "orderByKey": "metrics.`test/accuracy`",
    "orderByAsc": False,
    "selectedColumns": [
        "metrics.`test/accuracy`",
        "attributes.`Dataset`",
        "metrics.`test/accuracy_std`",
        "metrics.`val/selected_accuracy`",
        "metrics.`seeds`",
        "metrics.`seeds_diverged`",
        "metrics.`time/train_seconds`",
        "params.`dataset`",
        "params.`optimizer.learning_rate`",
        "params.`tuned.learning_rate`",
        "metrics.`untuned/accuracy`",
        "tags.`nnbench.status`",
        "tags.`nnbench.finding`",
        "tags.`nnbench.sweep`",
    ],
}
VIEW_TAG = {f"mlflow.sharedViewState.{VIEW}": json.dumps(VIEW_STATE)}
SQLITE = "sqlite:///"
CREDENTIALS = re.compile(r"(?<=://)[^/\s\"'<>]*@")
PAGE = 1000  # runs; MLflow returns no more at once


def resolve(uri: str | None) -> str:
    """Return the tracking URI: the one given, or MLFLOW_TRACKING_URI, or a database below the current folder."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{DATABASE}"
    if is_local(uri):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
    return uri


def without_credentials(text: str) -> str:
    """Return text with no user:password@ in the addresses that it names."""
    return CREDENTIALS.sub("", text)


def is_local(uri: str) -> bool:
    """Whether the store at a resolved URI is a file of this machine."""
    return uri.startswith(SQLITE)


def exists(uri: str) -> bool:
    """Whether there is a store at a resolved URI; a server is believed to be one."""
    return not is_local(uri) or Path(uri.removeprefix(SQLITE)).exists()


def prepare(uri: str | None, experiment: str) -> None:
    """Create the store and the experiment where they do not exist yet."""
    uri = resolve(uri)
    if is_local(uri):
        if {"?", "%"} & set(uri):  # a URI gives them a meaning, and the database would lie elsewhere
            raise ValueError(f"the store would be {uri}, whose path has a ? or a %; work in another folder")
        _create_database(Path(uri.removeprefix(SQLITE)))
    experiment_id(uri, experiment)


@lru_cache(maxsize=4)
def client(uri: str) -> "MlflowClient":
    """Return a client of the store at a resolved URI."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    mlflow.tracing.disable()  # there are no traces, and some versions create the default store for them
    # Not mlflow.set_tracking_uri: it sets MLFLOW_TRACKING_URI, where `resolve` would find it for the next record.
    return mlflow.MlflowClient(uri)


@lru_cache(maxsize=64)
def experiment_id(uri: str, name: str) -> str:
    """Return the id of the experiment of that name, which is created where it does not exist."""
    from mlflow.exceptions import MlflowException

    connection = client(uri)
    found = connection.get_experiment_by_name(name)
    if found is None:
        try:
            made = connection.create_experiment(name, artifact_location=_artifacts(uri, name), tags=VIEW_TAG)
            connection.set_experiment_tag(made, "mlflow.note.content", _note(made))
            return made
        except MlflowException:  # another process was faster, or the name belongs to a deleted experiment
            found = connection.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise ValueError(
            f"the experiment {name} is deleted; restore it with mlflow experiments restore -x {found.experiment_id}, "
            "or give another name with tracking.experiment=NAME"
        )
    return found.experiment_id


def runs(uri: str, experiment_id: str, condition: str) -> "list[Run]":
    """Return all runs of an experiment that meet a condition in MLflow's words, newest first."""
    found: dict[str, Run] = {}  # pages are counted from the newest run, so one that starts meanwhile shifts them
    token = None
    while True:
        page = client(uri).search_runs(
            [experiment_id],
            condition,
            max_results=PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        found |= {run.info.run_id: run for run in page if run.info.run_id not in found}
        token = page.token
        if not token:
            return list(found.values())


def local_folder(artifact_uri: str) -> Path | None:
    """Return the folder of artifacts that lie on this machine; None where they must be downloaded."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(artifact_uri) if not parts.scheme and artifact_uri.startswith("/") else None


def artifacts(uri: str, artifact_uri: str) -> "ArtifactRepository":
    """Return what reads and writes the artifacts of a run of the store at a resolved URI."""
    client(uri)  # sets MLflow's environment
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(artifact_uri, tracking_uri=uri)


def page(experiment_id: str, *, chart: bool = False) -> str:
    """Return the address behind MLflow's host that shows an experiment's cells, best first, or their curves."""
    mode = "&compareRunsMode=CHART" if chart else ""
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}{mode}"


def artifact_page(experiment_id: str, run_id: str, name: str) -> str:
    """Return the address behind MLflow's host that shows an artifact of a run."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(name)}?workflowType=machine_learning"


def _note(experiment_id: str) -> str:
    """Return what the page of an experiment says at its top, in Markdown, with the links that MLflow does not offer."""
    return (
        "Each run is a cell, one setting; its nested runs are its seeds, its curves their means. "
        f"[Best cells first]({page(experiment_id)[1:]}), [curves]({page(experiment_id, chart=True)[1:]})."
    )


def _artifacts(uri: str, experiment: str) -> str | None:
    """Return the place of an experiment's artifacts, beside a local database; a server decides for itself."""
    if not is_local(uri):
        return None
    return (Path(uri.removeprefix(SQLITE)).parent / ARTIFACTS / file_name(experiment)).as_uri()


def file_name(name: str) -> str:
    """Return a name that is safe as a part of a path, whatever stands in it; different names stay different."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:80]
    mark = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]  # what is no Unicode included
    return safe if safe == name else f"{safe}_{mark}"


def _create_database(path: Path) -> None:
    """Create a store with MLflow's tables, unless it is there."""
    if path.exists():
        return
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        if path.exists():
            return
        temporary = path.with_name(f"{path.name}.tmp")
        for leftover in path.parent.glob(f"{temporary.name}*"):  # of a process that was killed; SQLite's journal, too
            leftover.unlink()
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import logging

        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        logging.getLogger("alembic").setLevel(logging.WARNING)
        store = SqlAlchemyStore(f"{SQLITE}{temporary}", (path.parent / ARTIFACTS).as_uri())
        store.engine.dispose()
        temporary.replace(path)
