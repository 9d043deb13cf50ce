"""The MLflow store: where it is, how it is created safely, and a client for it.

MLflow's own creation of a SQLite store is not safe when raced or killed, so exactly one process creates it, under a
lock, in a temporary file that is renamed into place; every other process finds it ready.
"""

import hashlib
import json
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, unquote, urlsplit

from nnbench.nn.saving import sync
from nnbench.tracking import glance
from nnbench.tracking.credentials import complete, hide, without_credentials
from nnbench.tracking.trouble import (
    MOVE_AWAY,
    SQLITE,
    OneLine,
    StoreError,
    deleted,
    in_one_line,
    of_another_version,
    of_database,
    place,
)

__all__ = ["StoreError", "without_credentials"]  # of this room, for all others

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
    # MLflow sends a request up to 8 times, so a slow server would get a run more than once; what is safe to repeat is
    # repeated by those who ask, see `publish.publish_in_time` and `read`.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "GIT_PYTHON_REFRESH": "quiet",
}
POOL, NONE_KEPT = "MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool"
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
VERSION = "alembic_version"  # the table with the version of the schema, which MLflow writes last
SHARED = {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "fuse.sshfs", "9p"}  # kinds of file systems
PAGE = 1000  # runs; MLflow returns no more at once


def resolve(uri: str | None) -> str:
    """Return the tracking URI: the one given, or MLFLOW_TRACKING_URI, or a database below the current folder.

    It has no credentials, which only MLflow is given, see `nnbench.tracking.credentials`.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{DATABASE}"
    if is_local(uri):
        return f"{SQLITE}{Path(place(uri)).absolute()}"
    return hide(uri)


def is_local(uri: str) -> bool:
    """Whether the store at a resolved URI is a file of this machine."""
    return uri.startswith(SQLITE)


def exists(uri: str) -> bool:
    """Whether there is a store at a resolved URI; a server is believed to be one."""
    return not is_local(uri) or Path(place(uri)).exists()


def prepare(uri: str | None, experiment: str) -> None:
    """Create the store and the experiment where they do not exist yet; raises StoreError where they cannot be used."""
    uri = resolve(uri)
    check_place(uri)
    if is_local(uri):
        _create_database(Path(place(uri)))
    experiment_id(uri, experiment)


def check_place(uri: str) -> None:
    """Raise ValueError for a local store with a path that has a meaning in its URI: it would lie elsewhere."""
    if is_local(uri) and {"?", "%"} & set(uri):
        raise ValueError(f"the store would be {uri}, whose path has a ? or a %; work in another folder")


def check_soon(uri: str) -> None:
    """Raise StoreError or OSError for a local store that cannot be used or made, without MLflow where that is sure."""
    path = Path(place(uri))
    if not is_local(uri):
        return
    if path.exists():
        if not glance.is_of_this_version(uri):
            check(uri)
        if not os.access(path, os.W_OK):
            raise of_database(path, "readonly")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=path.parent):  # which raises what there is against it
        pass
    _check_journals(path)


def read_ahead(uri: str) -> None:
    """Import what the store at a resolved URI is asked with, for the processes that are forked from this one."""
    _be_quiet()
    import mlflow

    if is_local(uri):
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


@contextmanager
def keeping_no_connection() -> Iterator[None]:
    """Let this process keep no connection to a local store, as it is to be forked: an inherited one is not one's own.

    To open one takes 2 ms, and publishing a cell asks a hundred times, so what is forked calls `keep_connections`.
    """
    os.environ.setdefault(POOL, NONE_KEPT)
    try:
        yield
    finally:
        keep_connections()


def keep_connections() -> None:
    """Keep connections from now on, unless the user has said how."""
    if os.environ.get(POOL) == NONE_KEPT:
        del os.environ[POOL]


def _be_quiet() -> None:
    """Set what MLflow reads from its environment, unless the user has set it."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@lru_cache(maxsize=4)
def client(uri: str) -> "MlflowClient":
    """Return a client of the store at a resolved URI, whose errors are StoreErrors, see `nnbench.tracking.trouble`.

    Raises StoreError, and leaves the file as it is, where there is none or it is not a whole database of MLflow's.
    """
    _be_quiet()
    import mlflow

    if is_local(uri):
        _check_database(uri)
    mlflow.tracing.disable()  # there are no traces, and some versions create the default store for them
    # It writes the traceback of every error that it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    with in_one_line(uri):
        # Not mlflow.set_tracking_uri: it sets MLFLOW_TRACKING_URI, where `resolve` would find it for the next record.
        return cast("MlflowClient", OneLine(uri, mlflow.MlflowClient(complete(uri))))


def check(uri: str) -> None:
    """Raise StoreError unless the store at a resolved URI can be read."""
    client(uri).search_experiments(max_results=1)


@lru_cache(maxsize=64)
def experiment_id(uri: str, name: str) -> str:
    """Return the id of the experiment of that name, which is created where it does not exist."""
    connection = client(uri)
    found = find_experiment(uri, name)
    if found is None:
        try:
            found = connection.create_experiment(name, artifact_location=_artifacts(uri, name), tags=VIEW_TAG)
            connection.set_experiment_tag(found, "mlflow.note.content", _note(found))
        except StoreError:
            found = find_experiment(uri, name)
            if found is None:  # no other process was faster
                raise
    return found


def find_experiment(uri: str, name: str) -> str | None:
    """Return the id of the experiment of that name, None if there is none; raises StoreError if it is deleted."""
    found = client(uri).get_experiment_by_name(name)
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        raise StoreError(deleted(name, found.experiment_id), "refusal")
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

    with in_one_line(uri):
        found = get_artifact_repository(artifact_uri, tracking_uri=complete(uri))
        return cast("ArtifactRepository", OneLine(uri, found))


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
    return (Path(place(uri)).parent / ARTIFACTS / file_name(experiment)).as_uri()


def file_name(name: str) -> str:
    """Return a name that is safe as a part of a path, whatever stands in it; different names stay different."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:80]
    mark = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]  # what is no Unicode included
    return safe if safe == name else f"{safe}_{mark}"


def _create_database(path: Path) -> None:
    """Create a store with MLflow's tables, unless something of that name is there."""
    if path.exists():
        return
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        if path.exists():
            return
        _check_journals(path)
        temporary = path.with_name(f"{path.name}.tmp")
        for kind in ("", "-journal", "-wal", "-shm"):  # of a process that was killed; SQLite's own files, too
            temporary.with_name(f"{temporary.name}{kind}").unlink(missing_ok=True)
        try:
            sqlite3.connect(temporary).close()
        except sqlite3.Error as error:  # MLflow would try again for minutes; SQLite takes no path of 512 characters
            raise of_database(path, str(error)) from error
        _be_quiet()
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        logging.getLogger("alembic").setLevel(logging.WARNING)
        with in_one_line(f"{SQLITE}{path}"):
            store = SqlAlchemyStore(f"{SQLITE}{temporary}", (path.parent / ARTIFACTS).as_uri())
            store.engine.dispose()
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


def _check_journals(path: Path) -> None:
    """Raise StoreError where a store is to be made beside what SQLite would play back into the new file."""
    for kind in ("-journal", "-wal"):
        if (other := path.with_name(f"{path.name}{kind}")).exists():
            raise StoreError(
                f"{other} belongs to a store that is gone, and would damage a new one; move it to that store, or "
                "delete it if that is deleted",
                "refusal",
            )


def _check_database(uri: str) -> None:
    """Raise StoreError unless a local store is a database with MLflow's tables.

    MLflow would write its tables into the database of any other program, and those of today into one of last year.
    """
    from mlflow.store.db.utils import Base  # which knows all tables

    path = Path(place(uri))
    if not path.exists():
        raise StoreError(f"there is no store at {uri}; train something first, or give --tracking-uri", "refusal")
    found = {name for (name,) in glance.ask(uri, "SELECT name FROM sqlite_master WHERE type = 'table'") or ()}
    if VERSION not in found:
        raise StoreError(
            f"{path} is no store of MLflow's, or its creation was cut off (it has no table {VERSION}); give another "
            f"one with tracking.uri or --tracking-uri, {MOVE_AWAY}",
            "refusal",
        )
    if missing := set(Base.metadata.tables) - found:
        raise of_another_version(uri, f"it has no table {min(missing)}")


def file_system(path: Path) -> str:
    """Return the kind of file system on which a path lies, such as ext4 or nfs; nothing where that is not known."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = [(Path(folder.replace(r"\040", " ")), kind) for _, folder, kind, *_ in map(str.split, lines)]
    below = [(len(folder.parts), kind) for folder, kind in mounts if path.resolve().is_relative_to(folder)]
    return max(below, key=lambda entry: entry[0])[1] if below else ""


def warning_of_disk(uri: str) -> str:
    """Return a warning if the store at a resolved URI is a database on a disk that other machines share, else nothing.

    SQLite's locks do not hold on all of them: https://www.sqlite.org/faq.html#q5.
    """
    kind = file_system(Path(place(uri)).parent) if is_local(uri) else ""
    if kind not in SHARED:
        return ""
    return f"{place(uri)} is on {kind}, where databases can be damaged if several machines write; use a server for that"
