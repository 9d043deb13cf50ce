"""From a record folder to MLflow: one run for the cell, one nested run for each replica.

Publishing the same record again adds nothing: runs are found by the record's key, a run that is terminated is whole,
and a point has the same time stamp whenever it is sent, so MLflow knows it again. One `log_batch` for each run and
flush; numbers that are not finite never become metrics.
"""

import getpass
import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from nnbench import __version__
from nnbench.protocol.naming import flat_settings
from nnbench.tracking import contents, glance, notes, points, process, record, store, whole_runs
from nnbench.tracking.record import Identity, Record
from nnbench.tracking.trouble import StoreError, bounded
from nnbench.tracking.whole_runs import WholeRun

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from mlflow.models import Model

_Item = TypeVar("_Item")
MOST_METRICS, MOST_PARAMS = 800, 100  # in one log_batch; MLflow takes 1000 of both together
LONGEST_PARAM = 6000  # MLflow cuts longer values without a word; the artifact config.yaml has them whole
LONGEST_TAG = 500
PAUSES = (0.3, 1.0, 2.0, 4.0)  # seconds between the attempts of `publish_in_time`
PATIENCE = 10.0  # seconds after which it makes no further attempt
MOST_SECONDS = 60.0  # that it takes, however slow the store is
RUN_STATUS = {"finished": "FINISHED", "diverged": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def publish(folder: Path, uri: str | None, experiment: str) -> str:
    """Bring MLflow up to a record folder and remember that it is; return the id of the cell's run.

    Raises ValueError for a damaged record, StoreError for a store in trouble.
    """
    from filelock import FileLock, Timeout

    published = folder.parent / record.PUBLISHED
    try:
        with FileLock(published.with_suffix(".lock"), timeout=MOST_SECONDS):
            cell = record.read(folder)
            publisher = Publisher(uri, experiment, cell.identity)
            run_id = publisher.publish(cell)
            note = {"run_id": run_id, "uri": publisher.uri}
            published.write_text(json.dumps(note), encoding="utf-8")
    except Timeout:
        raise StoreError(f"another command is publishing {folder} and does not end") from None
    except StoreError:
        store.experiment_id.cache_clear()  # it may be that somebody has deleted the experiment
        raise
    return run_id


def publish_in_time(folder: Path, uri: str | None, experiment: str) -> str:
    """Do the same while a sweep waits: what fails is tried again for some seconds, and then the store has a rest.

    Publishing adds nothing twice, and much passes: other writers can make a database refuse at once, a server restarts.
    What is no outage is tried again but once; somebody may have deleted a run, and then it is made anew.
    """
    started = perf_counter()
    with bounded(store.resolve(uri), MOST_SECONDS):
        for number, pause in enumerate(PAUSES):
            try:
                return publish(folder, uri, experiment)
            except StoreError as error:
                in_vain = error.kind == "refusal" or (error.kind == "other" and number > 0)
                if in_vain or perf_counter() - started > PATIENCE:
                    raise
            time.sleep(pause)
        return publish(folder, uri, experiment)


class Publisher:
    """Writes the runs of one cell, while it trains (`flush`) and when its record is there (`publish`)."""

    def __init__(self, uri: str | None, experiment: str, identity: Identity):
        self.uri = store.resolve(uri)
        self.client: MlflowClient = store.client(self.uri)
        self.experiment_id = store.experiment_id(self.uri, experiment)
        self.identity = identity
        self.flushed_epoch = 0
        found = store.runs(self.uri, self.experiment_id, f"tags.`nnbench.record` = '{identity.key}'")
        # By its start, too: an attempt before this one was killed and left points that are no part of this one.
        self.run_by_place: dict[tuple[str, int], Run] = {}
        parents = {run.data.tags.get("mlflow.parentRunId") for run in found}
        # What was asked for in vain, as far as we know, may have been done all the same, and then again.
        for run in sorted(found, key=lambda run: (run.info.run_id in parents, _is_ended(run), run.info.run_id)):
            place = run.data.tags["nnbench.place"], run.info.start_time
            if place in self.run_by_place:
                self.client.delete_run(self.run_by_place[place].info.run_id)
            self.run_by_place[place] = run

    def flush(
        self, config: Mapping[str, Any], choices: Mapping[str, str], history: "pd.DataFrame | None", started: float
    ) -> None:
        """Show a cell in training, and add the epochs that MLflow lacks, if there are any yet.

        `history` has one row for each replica and epoch, accuracies of diverged replicas at chance level, see
        `contents.score_divergence`.
        """
        params = {} if ("cell", points.milliseconds(started)) in self.run_by_place else flat_settings(config, choices)
        run = self._run("cell", "cell", self.identity.label, started)
        metrics: list[Metric] = []
        if history is not None:
            metrics = points.curve_points(points.mean_curves(history[history["epoch"] > self.flushed_epoch]), started)
            self.flushed_epoch = _last_epoch(history)
        self._log(run, metrics, params)

    def close(self, status: str) -> None:
        """End the runs that are open, as a cell that was stopped does."""
        for run in self.run_by_place.values():
            if run.info.status == "RUNNING":
                self.client.set_tag(run.info.run_id, "nnbench.status", status)
                self.client.set_terminated(run.info.run_id, RUN_STATUS[status])

    def publish(self, cell: Record) -> str:
        """Write all runs of a record; return the id of the cell's."""
        run = self._run(cell.kind, "cell", cell.identity.label, cell.cell["started"])
        if run.info.status == RUN_STATUS[cell.status]:
            return run.info.run_id
        if run.data.tags["nnbench.process"] != process.mark():  # of the one that has trained, and may be gone
            self.client.set_tag(run.info.run_id, "nnbench.process", process.mark())
        ended = points.milliseconds(cell.cell["ended"])
        replicas, history = cell.replicas(), cell.history()
        curves_by_seed = dict(iter(history.groupby("seed"))) if len(history) else {}
        if cell.cell.get("draws", True):  # or else one fit stands for all seeds
            self._publish_replicas(
                [self._replica(cell, run, row, curves_by_seed.get(row["seed"])) for row in replicas.to_dict("records")]
            )

        metrics: list[Metric] = []
        if cell.is_baseline and len(replicas):
            metrics += points.summary_points(points.baseline_summary(cell, replicas), 0, ended)
            self._log_dataset(run, cell)
        if len(history):
            scored = contents.score_divergence(history, cell.chance)
            curves = points.mean_curves(scored)  # MLflow knows the points again that it has
            if (replicas["status"] == "diverged").any():
                curves = points.without_stale(curves)
            metrics += points.with_summary(curves, points.cell_summary(cell, replicas), cell.cell["started"], ended)
            self._log_dataset(run, cell)
        tuning = cell.cell.get("tuning") or {"chosen": {}}
        tuned = {f"tuned.{name}": value for name, value in tuning["chosen"].items()}
        effective = cell.cell.get("batch_size", cell.config["batch_size"])
        if cell.config["batch_size"] not in ("full", effective):
            tuned["effective.batch_size"] = effective  # the training split has no more samples
        tags = {"nnbench.status": cell.status, "mlflow.note.content": notes.note(cell, replicas)}
        if cell.cell.get("finding"):
            tags["nnbench.finding"] = cell.cell["finding"]["name"]
        if "error" in cell.cell:
            tags["nnbench.reason"] = cell.cell["error"][:LONGEST_TAG]
        elif "nnbench.reason" in run.data.tags:  # it was taken for abandoned
            self.client.delete_tag(run.info.run_id, "nnbench.reason")
        self._log(run, metrics, flat_settings(cell.config, cell.choices) | tuned, tags)
        self._log_artifacts(run, cell)
        self.client.set_terminated(run.info.run_id, RUN_STATUS[cell.status], end_time=ended)
        return run.info.run_id

    def _publish_replicas(self, replicas: Sequence[WholeRun]) -> None:
        """Write the nested runs of a cell that the store lacks."""
        found = [(each, self.run_by_place.get((each.tags["nnbench.place"], each.start_time))) for each in replicas]
        left = [(each, run) for each, run in found if run is None or run.info.status != each.status]
        new = [each for each, run in left if run is None]
        if new and store.is_local(self.uri):
            experiment = self.client.get_experiment(self.experiment_id)
            if whole_runs.write(self.uri, experiment, new):
                left = [(each, run) for each, run in left if run is not None]
        for each, run in left:
            if run is None:
                run = self.client.create_run(
                    self.experiment_id, start_time=each.start_time, tags=dict(each.tags), run_name=each.name
                )
            self._log(run, each.metrics, each.params)
            self.client.set_terminated(run.info.run_id, each.status, end_time=each.end_time)

    def _replica(self, cell: Record, parent: "Run", row: Mapping[str, Any], history: "pd.DataFrame | None") -> WholeRun:
        """Return the nested run of one replica: its curves, where it has any, and its summary."""
        seed = row["seed"]
        groups = ("model", "dataset") if cell.is_baseline else ("model", "optimizer", "activation", "dataset")
        params = {"seed": seed, **{group: cell.choices[group] for group in groups}}
        if cell.cell["tuning"]:
            params |= {f"optimizer.{name}": value for name, value in cell.cell["tuning"]["chosen"].items()}
        tags = {"mlflow.parentRunId": parent.info.run_id, "nnbench.status": row["status"]}
        ended = points.milliseconds(cell.cell["ended"])
        summary = {name: value for name, value in row.items() if name not in ("seed", "status")}
        if history is None:
            metrics = points.summary_points(summary, 0, ended)
        else:
            curves = history.set_index("epoch").drop(columns="seed")
            if row["status"] == "diverged":
                curves = points.without_stale(contents.score_divergence(curves, cell.chance))
            # Of most curves the last point, without layers even that: the cell has the means, its record all of them.
            only_last = [name for name in curves if name not in points.CURVES_OF_A_SEED]
            summary = {
                name: value for name, value in curves[only_last].iloc[-1].items() if name[:5] != "layer"
            } | summary
            metrics = points.with_summary(curves, summary, cell.cell["started"], ended, besides=only_last)
        return WholeRun(
            name=f"{cell.identity.label} seed {seed}",
            status=RUN_STATUS[row["status"]],
            start_time=points.milliseconds(cell.cell["started"]),
            end_time=ended,
            tags=self._tags("replica", f"seed {seed}") | tags,
            params=_texts(params),
            metrics=metrics,
        )

    def _run(self, kind: str, place: str, name: str, started: float) -> "Run":
        """Return the run of that place in the record and that start, which is created where MLflow lacks it."""
        key = place, points.milliseconds(started)
        if key not in self.run_by_place:
            self.run_by_place[key] = self.client.create_run(
                self.experiment_id, start_time=key[1], tags=self._tags(kind, place), run_name=name
            )
        return self.run_by_place[key]

    def _tags(self, kind: str, place: str) -> dict[str, str]:
        """Return the tags of a run that has begun."""
        return {
            "nnbench.kind": kind,
            "nnbench.sweep": self.identity.sweep,
            "nnbench.study": self.identity.study,
            "nnbench.fingerprint": self.identity.fingerprint,
            "nnbench.status": "running",
            "nnbench.record": self.identity.key,
            "nnbench.place": place,
            "nnbench.version": __version__,
            "nnbench.process": process.mark(),
            "mlflow.source.name": self.identity.command,
            "mlflow.source.type": "LOCAL",
            "mlflow.user": _user(),
        }

    def _log(
        self, run: "Run", metrics: "Sequence[Metric]", params: Mapping[str, Any], tags: Mapping[str, str] | None = None
    ) -> None:
        """Send metrics, params and tags in one batch, or in as many as MLflow's limits ask for."""
        from mlflow.entities import Param, RunTag

        entries = [Param(key, value) for key, value in _texts(params).items()]
        marks = [RunTag(key, value) for key, value in (tags or {}).items()]
        batches = zip_longest(
            _parts(metrics, MOST_METRICS), _parts(entries, MOST_PARAMS), [marks] if marks else [], fillvalue=()
        )
        for some_metrics, some_params, some_tags in batches:
            self.client.log_batch(run.info.run_id, metrics=some_metrics, params=some_params, tags=some_tags)

    def _log_dataset(self, run: "Run", cell: Record) -> None:
        """Tell MLflow which data the cell was trained on."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = cell.cell["dataset"]
        profile = {
            "samples": {split: data[split] for split in ("train", "validation", "test")},
            "classes": data["classes"],
        }
        dataset = Dataset(
            name=data["name"],
            digest=data["digest"][:16],
            source_type="nnbench",
            source=json.dumps({"dataset": cell.choices["dataset"], "options": cell.config["dataset"]}),
            schema=json.dumps({"features": data["features"], "classes": len(data["classes"])}),
            profile=json.dumps(profile),
        )
        tags = [InputTag("mlflow.data.context", "train, validation, test")]
        self.client.log_inputs(run.info.run_id, datasets=[DatasetInput(dataset, tags)])

    def _log_artifacts(self, run: "Run", cell: Record) -> None:
        """Copy the record's files and log its network as a model that can be served."""
        artifacts = store.artifacts(self.uri, run.info.artifact_uri)
        for path in sorted(cell.folder.iterdir()):
            if path.is_file():
                artifacts.log_artifact(str(path))
        if (cell.folder / record.MODEL).is_dir():
            self._log_model(run.info.run_id, cell)

    def _log_model(self, run_id: str, cell: Record) -> None:
        """Log the record's network; what an attempt before this one has done is not done again."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus
        from mlflow.models import Model

        found = self.client.search_logged_models([self.experiment_id], f"source_run_id = '{run_id}'")
        for other in found[1:]:
            self.client.delete_logged_model(other.model_id)
        model = found[0] if found else self.client.create_logged_model(self.experiment_id, "model", run_id)
        if model.status == LoggedModelStatus.READY:
            return
        outputs = self.client.get_run(run_id).outputs
        if outputs is None or not outputs.model_outputs:
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        with tempfile.TemporaryDirectory() as folder:
            description = Model(model.artifact_location, run_id, model_id=model.model_id)
            _save_model(Path(folder, "model"), cell, description)
            self.client.log_model_artifacts(model.model_id, str(Path(folder, "model")))
        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _save_model(folder: Path, cell: Record, description: "Model") -> None:
    """Write the network as a model of MLflow's, which `served_model.py` runs from arrays and JSON."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    names = json.loads((cell.folder / record.MODEL / "names.json").read_text(encoding="utf-8"))
    if cell.cell["dataset"]["image"]:
        import numpy as np

        inputs = Schema([TensorSpec(np.dtype(np.float64), (-1, len(names["features"])))])
    else:
        inputs = Schema([ColSpec("double", name) for name in names["features"]])
    outputs = Schema(
        [ColSpec("string", "class"), *(ColSpec("double", f"probability of {name}") for name in names["classes"])]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no input example, which would run the model once more
        mlflow.pyfunc.save_model(
            str(folder),
            mlflow_model=description,
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": str(cell.folder / record.MODEL)},
            signature=ModelSignature(inputs, outputs),
            # Not nnbench itself: in the public index that name is another project. Serve with --env-manager local.
            pip_requirements=[f"{name}=={version(name)}" for name in ("numpy", "pandas")],
        )


def _parts(items: Sequence[_Item], size: int) -> list[Sequence[_Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _user() -> str:
    """Return who trained: a name, or the number where the system knows none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Return params as the texts that MLflow takes."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in params.items()
    }
    return {key: store.without_credentials(text)[:LONGEST_PARAM] for key, text in texts.items()}


def _last_epoch(history: "pd.DataFrame") -> int:
    return int(history["epoch"].max())


def _is_ended(run: "Run") -> bool:
    return run.info.status != "RUNNING"


def close_abandoned(uri: str | None, experiment: str) -> None:
    """Close the runs that a process of this machine has left open and can no longer close.

    One that is there although its process was told otherwise, and then made another, is deleted.
    """
    uri = store.resolve(uri)
    if store.is_local(uri) and store.exists(uri) and not glance.may_have_open_runs(uri):
        return
    client = store.client(uri)
    number = store.experiment_id(uri, experiment)
    for run in store.runs(uri, number, "attributes.status = 'RUNNING'"):
        tags = run.data.tags
        if not process.is_gone(tags.get("nnbench.process", "")):
            continue
        same = f"tags.`nnbench.record` = '{tags.get('nnbench.record')}' AND tags.`nnbench.place` = "
        doubles = store.runs(uri, number, f"{same}'{tags.get('nnbench.place')}'")
        if any(_is_ended(other) and other.info.start_time == run.info.start_time for other in doubles):
            client.delete_run(run.info.run_id)
            continue
        client.set_tag(run.info.run_id, "nnbench.status", "interrupted")
        client.set_tag(run.info.run_id, "nnbench.reason", "its process is gone")
        client.set_terminated(run.info.run_id, RUN_STATUS["interrupted"])


def publish_all(
    folders: Iterable[Path], uri: str | None = None, *, seconds: float | None = None
) -> list[tuple[Path, Exception | None]]:
    """Publish records, by default each to the store of its own configuration; return each with its error, if any.

    A store that has an outage is not asked again for the records behind. After so many seconds the rest has to wait.
    Copies of a record are one.
    """
    outcomes: list[tuple[Path, Exception | None]] = []
    published: dict[str, bool] = {}  # by key
    ends = math.inf if seconds is None else perf_counter() + seconds
    for folder in folders:
        try:
            cell = record.read(folder)
            key = cell.identity.key
            if cell.experiment is None or published.get(key) is False:
                continue
            copy, published[key] = key in published, False
            place = uri or cell.config["tracking"]["uri"], cell.experiment
            with bounded(store.resolve(place[0]), None if seconds is None else ends - perf_counter()):
                store.prepare(*place)
                publish(folder, *place)
            published[key] = True
            if not copy:
                outcomes.append((folder, None))
        except Exception as error:  # every other record is still published
            outcomes.append((folder, error))
    return outcomes
