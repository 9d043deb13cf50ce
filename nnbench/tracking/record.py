"""The record folder of a cell: everything that is known of it, durable before MLflow is asked.

`write` fills a temporary folder, syncs each file, writes the manifest (sizes and SHA-256) last and renames the folder
into place; so a folder of that name is whole. Results are CSV, Parquet, JSON, PNG and NPZ: nothing in it can run.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from nnbench.data import Dataset
from nnbench.protocol.fingerprint import PROTOCOL_VERSION
from nnbench.protocol.result import CellResult, Scores
from nnbench.tracking.environment import environment

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "record"
PLACES = ("multirun", "outputs")  # below the current folder
PUBLISHED = "published.json"  # beside the record folder, once MLflow has it all
MANIFEST = "manifest.json"
CELL = "cell.json"
ERROR_LOG = "error.log"
MODEL = "model"  # the folder of the best replica's network; MLflow keeps it as a model, not among the run's files
NETWORK = f"{MODEL}/network.npz"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which job of which command a record belongs to."""

    sweep: str
    job: int
    study: str
    label: str
    command: str
    fingerprint: str = ""

    @property
    def key(self) -> str:
        """What tells this attempt from every other."""
        return f"{self.sweep}/{self.job}"


@dataclass(frozen=True)
class Record:
    """A record folder, read back."""

    folder: Path
    identity: Identity
    config: Mapping[str, Any]
    choices: Mapping[str, str]
    cell: Mapping[str, Any]  # status, seconds, times, data set; see `write`

    @property
    def status(self) -> str:
        """finished, diverged, failed or interrupted."""
        return self.cell["status"]

    @property
    def experiment(self) -> str | None:
        """The name of its experiment in MLflow; None if MLflow is not to know of it."""
        if self.choices["tracking"] == "none":
            return None
        return self.config["tracking"]["experiment"] or self.identity.study

    @property
    def chance(self) -> float:
        """The accuracy of a guess, one in the number of classes."""
        return 1 / len(self.cell["dataset"]["classes"])

    def replicas(self) -> "pd.DataFrame":
        """Return one row for each final replica: seed, status and its metrics; empty where the cell has no result."""
        return self._table("replicas.csv")

    def untuned(self) -> "pd.DataFrame":
        """Return the same for the configured hyperparameters; empty where nothing was tuned."""
        return self._table("untuned.csv")

    def tuning(self) -> "pd.DataFrame":
        """Return one row for each training of the search; empty where nothing was tuned."""
        return self._table("tuning.csv")

    def history(self) -> "pd.DataFrame":
        """Return one row for each final replica and epoch; empty where the cell has no result."""
        import pandas as pd

        path = self.folder / "history.parquet"
        return pd.read_parquet(path) if path.exists() else pd.DataFrame()

    def _table(self, name: str) -> "pd.DataFrame":
        import pandas as pd

        path = self.folder / name
        if not path.exists():
            return pd.DataFrame()
        texts = pd.read_csv(path, dtype=str, keep_default_na=False)  # pandas does not read numbers to the last bit
        kinds = {"status": str, "seed": int, "trial": int, "extension": int}
        return texts.astype({column: kinds.get(column, float) for column in texts})

    def confusion(self) -> "pd.DataFrame":
        """Return counts summed over the replicas, true class by predicted class; empty where the cell failed."""
        import pandas as pd

        path = self.folder / "confusion_matrix.csv"
        if not path.exists():
            return pd.DataFrame()
        return pd.read_csv(path, index_col=0, dtype={0: str}, keep_default_na=False)

    def environment(self) -> dict[str, Any]:
        """Return versions, processor and threads of the training."""
        content: dict[str, Any] = json.loads((self.folder / "environment.json").read_text(encoding="utf-8"))
        return content


def write(
    job_folder: Path,
    identity: Identity,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    dataset: Dataset,
    result: CellResult,
    *,
    started: float,
) -> Path:
    """Write the record of a trained cell, whole or not at all; return its folder. `started` is seconds since 1970."""
    cell = {
        "status": result.status,
        "best_seed": result.final.trained.seeds[result.final.best_replica],
        "train_seconds": result.final.trained.train_seconds,
        "evaluation_seconds": result.final.evaluation_seconds,
        "diagnostics_seconds": result.final.trained.diagnostics_seconds,
        "optimizer_seconds_per_step": result.final.trained.optimizer_seconds_per_step,
        "test_openings": result.test_openings,
        "finding": asdict(result.finding),
        "tuning": _tuning_facts(result),
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "image": dataset.image_shape is not None,
            "features": dataset.num_features,
            "classes": list(dataset.class_names),
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
            "warnings": list(dataset.warnings),
        },
    }
    with new_folder(job_folder) as folder:
        _write_common(folder, identity, config, choices, cell, started)
        _write_tables(folder, dataset, result)
        _write_confusion(folder, dataset, result)
        _write_model(folder, dataset, result)
    return job_folder / FOLDER


def write_failure(
    job_folder: Path,
    identity: Identity,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    *,
    error: Exception,
    details: str,
    started: float,
) -> Path:
    """Write the record of a cell that failed: the settings, the error and the traceback."""
    cell = {"status": "failed", "error": f"{type(error).__name__}: {error}".strip(": ")}
    with new_folder(job_folder) as folder:
        _write_common(folder, identity, config, choices, cell, started)
        (folder / ERROR_LOG).write_text(details, encoding="utf-8")
    return job_folder / FOLDER


def write_interruption(
    job_folder: Path,
    identity: Identity,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    *,
    reason: str,
    started: float,
) -> Path:
    """Write the record of a cell that was stopped: the settings, and how far it was."""
    with new_folder(job_folder) as folder:
        _write_common(folder, identity, config, choices, {"status": "interrupted", "error": reason}, started)
    return job_folder / FOLDER


def read(folder: Path) -> Record:
    """Read a record folder; raises ValueError with the file that is missing or damaged."""
    check(folder)
    try:
        content = json.loads((folder / CELL).read_text(encoding="utf-8"))
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{folder} is not a whole record: {error}; train the cell again") from error
    identity = Identity(**content.pop("identity"))
    return Record(folder, identity, config, config.pop("choices"), content)


def facts(cell: Record) -> dict[str, Any]:
    """Return what tables say of a cell beside its scores: what tuning chose, what it is compared with, the finding."""
    tuning = cell.cell["tuning"]
    finding = cell.cell["finding"]
    return {
        "tuned": tuning["chosen"] if tuning else {},
        "at_edge": bool(tuning and tuning["at_edge"]),
        "untuned": cell.untuned()["test/accuracy"].mean() if tuning else float("nan"),
        "finding": finding["name"],
        "evidence": finding["evidence"],
        "override": finding["override"],
    }


def check(folder: Path, *, besides: str | None = None) -> None:
    """Raise ValueError with the first file that is not what the manifest says; files below `besides` may be missing."""
    manifest = folder / MANIFEST
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
        facts_by_name = {name: (entry["size"], entry["sha256"]) for name, entry in entries.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{manifest} cannot be read ({error!r}); train the cell again") from error
    for name, facts in facts_by_name.items():
        path = folder / name
        if path.is_file():
            content = path.read_bytes()
            if (len(content), hashlib.sha256(content).hexdigest()) != facts:
                raise ValueError(f"{path} is damaged: it is not what was written; train the cell again")
        elif besides is None or not name.startswith(f"{besides}/"):
            raise ValueError(f"{path} is missing; train the cell again")


def find(root: Path) -> list[Path]:
    """Return every record folder below the output folders of `root`, oldest first."""
    found = [path for place in PLACES for path in (root / place).glob(f"**/{FOLDER}/{MANIFEST}")]
    return [path.parent for path in sorted(found, key=lambda path: path.stat().st_mtime)]


@contextmanager
def new_folder(job_folder: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes the record folder if all goes well, and nothing otherwise."""
    temporary = job_folder / f"{FOLDER}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _finish(temporary, job_folder / FOLDER)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _finish(temporary: Path, final: Path) -> None:
    """Write the manifest, force everything to the disk and give the folder its name."""
    manifest = {}
    for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
        content = path.read_bytes()
        name = path.relative_to(temporary).as_posix()
        manifest[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        _sync(path)
    _write_json(temporary / MANIFEST, manifest)
    for path in (temporary / MANIFEST, *temporary.glob("*/"), temporary):
        _sync(path)
    shutil.rmtree(final, ignore_errors=True)
    temporary.replace(final)
    _sync(final.parent)


def _write_common(
    folder: Path,
    identity: Identity,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    cell: Mapping[str, Any],
    started: float,
) -> None:
    times = {"started": started, "ended": time.time()}
    _write_json(folder / CELL, {"identity": asdict(identity), "protocol_version": PROTOCOL_VERSION, **times, **cell})
    text = yaml.safe_dump({**config, "choices": dict(choices)}, sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    _write_json(folder / "environment.json", environment())


def _tuning_facts(result: CellResult) -> dict[str, Any] | None:
    """Return what tuning chose and cost, as JSON can hold it."""
    if result.tuning is None:
        return None
    return {
        "chosen": result.tuning.chosen,
        "num_trials": result.tuning.num_trials,
        "num_trainings": len(result.tuning.table["seed"]),
        "num_extensions": result.tuning.num_extensions,
        "at_edge": result.tuning.at_edge,
        "gradient_evaluations": result.tuning.gradient_evaluations,
        "train_seconds": result.tuning.train_seconds,
    }


def _write_tables(folder: Path, dataset: Dataset, result: CellResult) -> None:
    """Write the tables of replicas and of tuning, history.parquet (long in epochs, wide in metrics), classes.csv."""
    import pandas as pd

    def write_csv(table: Mapping[str, Any], name: str) -> None:
        pd.DataFrame(table).to_csv(folder / name, index=False, na_rep="nan")

    def replicas(scores: Scores) -> dict[str, Any]:
        return {"seed": scores.trained.seeds, "status": scores.statuses, **scores.summary}

    write_csv(replicas(result.final), "replicas.csv")
    if result.tuning is not None and result.untuned is not None:
        write_csv(result.tuning.table, "tuning.csv")
        write_csv(replicas(result.untuned), "untuned.csv")

    final = result.final.trained
    history_table(final.seeds, final.history).to_parquet(folder / "history.parquet", index=False)

    places = pd.MultiIndex.from_product([final.seeds, dataset.class_names], names=["seed", "class"])
    by_class = result.final.test.by_class
    classes = pd.DataFrame({name: values.ravel() for name, values in by_class.items()}, index=places)
    classes["support"] = np.tile(np.bincount(dataset.test.labels, minlength=dataset.num_classes), len(final.seeds))
    classes.reset_index().to_csv(folder / "classes.csv", index=False)


def score_divergence(history: "pd.DataFrame", chance: float) -> "pd.DataFrame":
    """Return curves in which the accuracies of diverged replicas are at chance level, as their scores are."""
    return history.assign(**{name: history[name].fillna(chance) for name in history if name.endswith("/accuracy")})


def history_table(seeds: Sequence[int], history: Mapping[str, NDArray]) -> "pd.DataFrame":
    """Return one row for each replica and epoch, one column for each metric, from metric -> (epochs, replicas)."""
    import pandas as pd

    num_epochs = len(next(iter(history.values())))
    places = pd.MultiIndex.from_product([seeds, range(1, num_epochs + 1)], names=["seed", "epoch"])
    return pd.DataFrame({name: values.T.ravel() for name, values in history.items()}, index=places).reset_index()


def _write_confusion(folder: Path, dataset: Dataset, result: CellResult) -> None:
    """Write the confusion matrix, counts summed over the replicas; row = true class, column = predicted class."""
    import pandas as pd

    from nnbench.analysis.plots import confusion_matrix_figure

    names = list(dataset.class_names)
    confusion = result.final.test.confusion.sum(axis=0)
    counts = pd.DataFrame(confusion, index=pd.Index(names, name="true class"), columns=names)
    counts.to_csv(folder / "confusion_matrix.csv")
    if result.status == "finished":
        finished = sum(status == "finished" for status in result.final.statuses)
        title = f"{dataset.name}, test split, {finished} {'seed' if finished == 1 else 'seeds'} together"
        confusion_matrix_figure(counts, title=title).savefig(folder / "confusion_matrix.png", dpi=100)


def _write_model(folder: Path, dataset: Dataset, result: CellResult) -> None:
    """Write the best replica's network with all that a raw sample needs to be classified."""
    if result.status != "finished":
        return
    model = result.model.with_params(result.model.params[[result.final.best_replica]])
    (folder / MODEL).mkdir()
    model.save(folder / NETWORK)
    dataset.scaler.save(folder / MODEL / "scaler.npz")
    names = {"classes": list(dataset.class_names), "features": list(dataset.feature_names)}
    _write_json(folder / MODEL / "names.json", names)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _sync(path: Path) -> None:
    """Force a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unpublished(root: Path) -> Iterator[Path]:
    """Yield the record folders below `root` that MLflow does not have yet."""
    return (folder for folder in find(root) if not (folder.parent / PUBLISHED).exists())
