"""Reports in MLflow: one run of the kind "report" for each study or sweep, with the newest report as its artifacts.

The page of the experiment links to the newest of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nnbench.tracking import process, store

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

KIND = "report"
NOTE = "mlflow.note.content"  # the tag that MLflow shows at the top of a page
LINK = "[Newest report]("  # begins the line of an experiment's note that is ours to replace
LONGEST_NOTE = 5000  # characters; some servers refuse a longer tag of an experiment


def log(uri: str | None, experiment: str, sweep: str | None, files: Sequence[Path]) -> str:
    """Keep a report in MLflow, in place of the one before; return the id of its run.

    It is a report of the whole study, or of one sweep. `files` may be folders, too; a page among them, *.html, is what
    the experiment's note links to. Raises ValueError if the experiment is deleted.
    """
    uri = store.resolve(uri)
    client = store.client(uri)
    experiment_id = store.experiment_id(uri, experiment)
    found = store.runs(uri, experiment_id, f"tags.`nnbench.kind` = '{KIND}'")  # without those that were deleted
    runs = [run for run in found if run.data.tags.get("nnbench.sweep") == sweep]
    if runs:
        run = runs[0]
    else:
        tags = {"nnbench.kind": KIND, "nnbench.process": process.mark(), "mlflow.source.type": "LOCAL"}
        name = "report" if sweep is None else f"report of sweep {sweep}"
        of_sweep = {} if sweep is None else {"nnbench.sweep": sweep}
        run = client.create_run(experiment_id, tags=tags | of_sweep, run_name=name)
    run_id = run.info.run_id
    try:
        _replace(store.artifacts(uri, run.info.artifact_uri), files)
    except BaseException:
        with suppress(Exception):
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    for page in [path.name for path in files if path.suffix == ".html"][:1]:
        note = client.get_experiment(experiment_id).tags.get(NOTE, "")
        link = store.artifact_page(experiment_id, run_id, page)[1:]
        rest = "\n".join(line for line in note.splitlines() if not line.startswith(LINK)).strip()
        note = f"{LINK}{link}).\n\n{rest}"  # MLflow shows the beginning alone until one asks for more
        if len(note) <= LONGEST_NOTE:  # a person may have written more there
            client.set_experiment_tag(experiment_id, NOTE, note)
    return run_id


def _replace(artifacts: "ArtifactRepository", files: Sequence[Path]) -> None:
    """Write files and folders, and remove whatever else is there."""
    from mlflow.exceptions import MlflowException

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
        with suppress(MlflowException, NotImplementedError, OSError):  # some stores let nobody delete
            artifacts.delete_artifacts(name)


def _names(artifacts: "ArtifactRepository", folder: str | None = None) -> Iterator[str]:
    """Yield the path of every file there."""
    for entry in artifacts.list_artifacts(folder):
        if entry.is_dir:
            yield from _names(artifacts, entry.path)
        else:
            yield entry.path
