"""Reports in MLflow: one run of the kind "report" for each study or sweep, with the newest report as its artifacts.

The page of the experiment links to the newest of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nnbench.tracking import process, store
from nnbench.tracking.trouble import StoreError

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

KIND = "report"
NOTE = "mlflow.note.content"  # the tag that MLflow shows at the top of a page
LINK = "[Newest report]("  # begins the line of an experiment's note that is ours to replace
LONGEST_NOTE = 5000  # characters; some servers refuse a longer tag of an experiment


def log(uri: str | None, experiment: str, sweep: str | None, files: Sequence[Path]) -> str:
    """Keep a report in MLflow, in place of the one before; return the id of its run.

    It is a report of the whole study, or of one sweep. `files` may be folders, too; a page among them, *.html, is what
    the experiment's note links to. Raises StoreError, such as for an experiment that is deleted.
    """
    uri = store.resolve(uri)
    with _alone(uri):
        experiment_id = store.experiment_id(uri, experiment)
        run = _found(uri, experiment_id, sweep) or _create(uri, experiment_id, sweep)
        _write(uri, run, files)
        run = _found(uri, experiment_id, sweep) or run  # on a server another machine may have made one meanwhile
        _link(uri, experiment_id, run.info.run_id, files)
        return run.info.run_id


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time write the reports of a local store; those of a server are put together by `_found`."""
    if not store.is_local(uri):
        yield
        return
    from filelock import FileLock

    with FileLock(f"{store.place(uri)}.lock"):
        yield


def _found(uri: str, experiment_id: str, sweep: str | None) -> "Run | None":
    """Return the first run of a sweep's report, and delete all others that nobody is writing; None if there is none."""
    runs = store.runs(uri, experiment_id, f"tags.`nnbench.kind` = '{KIND}'")  # without those that were deleted
    ours = [run for run in runs if run.data.tags.get("nnbench.sweep") == sweep]
    ours.sort(key=lambda run: (run.info.start_time, run.info.run_id))
    for run in ours[1:]:
        if run.info.status != "RUNNING":
            store.client(uri).delete_run(run.info.run_id)
    return ours[0] if ours else None


def _create(uri: str, experiment_id: str, sweep: str | None) -> "Run":
    tags = {"nnbench.kind": KIND, "nnbench.process": process.mark(), "mlflow.source.type": "LOCAL"}
    name = "report" if sweep is None else f"report of sweep {sweep}"
    of_sweep = {} if sweep is None else {"nnbench.sweep": sweep}
    return store.client(uri).create_run(experiment_id, tags=tags | of_sweep, run_name=name)


def _write(uri: str, run: "Run", files: Sequence[Path]) -> None:
    """Put the files into a run, and end it."""
    client, run_id = store.client(uri), run.info.run_id
    try:
        _replace(store.artifacts(uri, run.info.artifact_uri), files)
    except BaseException:
        with suppress(Exception):
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)


def _link(uri: str, experiment_id: str, run_id: str, files: Sequence[Path]) -> None:
    """Let the note of the experiment name the page among the files."""
    client = store.client(uri)
    for page in [path.name for path in files if path.suffix == ".html"][:1]:
        note = client.get_experiment(experiment_id).tags.get(NOTE, "")
        link = store.artifact_page(experiment_id, run_id, page)[1:]
        rest = "\n".join(line for line in note.splitlines() if not line.startswith(LINK)).strip()
        note = f"{LINK}{link}).\n\n{rest}"  # MLflow shows the beginning alone until one asks for more
        if len(note) <= LONGEST_NOTE:  # a person may have written more there
            client.set_experiment_tag(experiment_id, NOTE, note)


def _replace(artifacts: "ArtifactRepository", files: Sequence[Path]) -> None:
    """Write files and folders, and remove whatever else is there."""
    written = set()
    for path in files:
        if path.is_dir():
            artifacts.log_artifacts(str(path), path.name)
            below = [part for part in path.rglob("*") if part.is_file()]
            written |= {f"{path.name}/{part.relative_to(path).as_posix()}" for part in below}
        else:
            artifacts.log_artifact(str(path))
            written.add(path.name)
    for name in set(_names(artifacts)) - written:
        with suppress(StoreError):  # some stores let nobody delete
            artifacts.delete_artifacts(name)


def _names(artifacts: "ArtifactRepository", folder: str | None = None) -> Iterator[str]:
    """Yield the path of every file there."""
    for entry in artifacts.list_artifacts(folder):
        if entry.is_dir:
            yield from _names(artifacts, entry.path)
        else:
            yield entry.path
