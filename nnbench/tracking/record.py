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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from nnbench.data import Dataset
from nnbench.nn.saving import sync
from nnbench.protocol.baselines import BaselineResult
from nnbench.protocol.fingerprint import PROTOCOL_VERSION, is_baseline
from nnbench.protocol.naming import data_labels
from nnbench.protocol.result import CellResult
from nnbench.tracking import contents, store
from nnbench.tracking.environment import environment

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "record"
PLACES = ("multirun", "outputs")  # below the current folder
PUBLISHED = "published.json"  # beside the record folder, once MLflow has it all
MANIFEST = "manifest.json"
# Options of a data set that do not change its test split.
UNTOLD_OF_DATA = {
    "_target_", "root", "mirrors", "timeout", "scaling", "feature_range", "num_samples", "validation_fraction"
}  # fmt: skip
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where there is one
CELL = "cell.json"
WITH_RESULT = ("finished", "diverged")  # statuses
WRITTEN_BY_NOW = 3600.0  # seconds after which nobody writes a record any more
ERROR_LOG = "error.log"
PREDICTIONS = contents.PREDICTIONS
SAMPLES = contents.SAMPLES
MODEL = contents.MODEL  # a folder that MLflow keeps as a model, not among the run's files
NETWORK = contents.NETWORK


class DamagedError(ValueError):
    """A file of a record is not what was written; `reason` names it without its folder."""

    def __init__(self, path: Path, problem: str):
        super().__init__(f"{path} {problem}; train the cell again")
        self.reason = f"{path.name} {problem}"


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


@dataclass(frozen=True, eq=False)
class Predictions:
    """What the final replicas took each sample of the test split for, and pictures of what they missed."""

    seeds: NDArray  # (replicas,)
    labels: NDArray  # (samples,), integers from 0
    predicted: NDArray  # (replicas, samples), -1 for a diverged replica
    samples: NDArray  # (pictures,), places in the test split, most often missed first
    images: NDArray  # (pictures, height, width), uint8; none where the data are no images


@dataclass(frozen=True, eq=False)
class SampleImages:
    """The first images of each class of the training split, see `contents.sample_images`."""

    images: NDArray  # (images, height, width), uint8
    labels: NDArray  # (images,), integers from 0


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
    def is_baseline(self) -> bool:
        """Whether the cell is a model of scikit-learn's, not a network."""
        return is_baseline(self.config)

    @property
    def test_split(self) -> tuple[str, Any, Any]:
        """What determines its test split: cells that have it in common are tested on the same samples."""
        options = self.config["dataset"]
        return self.cell["dataset"]["digest"], options.get("split_seed"), options.get("test_fraction")

    @property
    def kind(self) -> str:
        """What its run in MLflow is: a cell of networks, or a baseline."""
        return "baseline" if self.is_baseline else "cell"

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
        kinds = {"status": str, "seed": int, "trial": int, "extension": int, "count": int}
        return texts.astype({column: kinds.get(column, float) for column in texts})

    def confusion(self) -> "pd.DataFrame":
        """Return counts summed over the replicas, true class by predicted class; empty where the cell failed."""
        import pandas as pd

        path = self.folder / "confusion_matrix.csv"
        if not path.exists():
            return pd.DataFrame()
        return pd.read_csv(path, index_col=0, dtype={0: str}, keep_default_na=False)

    def calibration(self) -> "pd.DataFrame":
        """Return the bins of `nnbench.analysis.calibration.reliability` for each seed, on the test split.

        Empty where there are no probabilities: the cell has no result, its seeds diverged or the model gives none.
        """
        return self._table("calibration.csv")

    def predictions(self) -> Predictions:
        """Return what the replicas took each sample of the test split for; raises OSError where there is no result."""
        with np.load(self.folder / PREDICTIONS, allow_pickle=False) as file:
            return Predictions(**file)

    def samples(self) -> SampleImages:
        """Return sample images of the data set; none of tables, nor in records from before they were kept."""
        path = self.folder / SAMPLES
        if not path.exists():
            return SampleImages(np.empty((0, 0, 0), np.uint8), np.empty(0, np.int32))
        with np.load(path, allow_pickle=False) as file:
            return SampleImages(**file)

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
    result: CellResult | BaselineResult,
    *,
    started: float,
    side_by_side: Mapping[str, int] | None = None,
) -> Path:
    """Write the record of a cell with a result, whole or not at all; return its folder.

    `started` is seconds since 1970; `side_by_side` says what may have been trained meanwhile, as clocks show.
    """
    if isinstance(result, BaselineResult):
        facts, write_result = contents.facts_of_baseline(result), partial(contents.write_baseline, result=result)
    else:
        facts, write_result = contents.facts_of_network(result), partial(contents.write_network, result=result)
        facts["batch_size"] = contents.effective_batch_size(config["batch_size"], len(dataset.train))
    with new_folder(job_folder) as folder:
        cell = {**facts, "dataset": contents.facts_of_data(dataset), "side_by_side": side_by_side or {}}
        _write_common(folder, identity, config, choices, cell, started)
        write_result(folder, dataset)
    return job_folder / FOLDER


def write_failure(
    job_folder: Path,
    identity: Identity,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    *,
    error: BaseException,
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


def read(folder: Path, *, besides: str | None = None) -> Record:
    """Read a record folder; raises DamagedError with the file that is missing or damaged.

    Files below `besides` may be missing.
    """
    check(folder, besides=besides)
    try:
        content = json.loads((folder / CELL).read_text(encoding="utf-8"))
        config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Loader=YAML)  # noqa: S506 - a safe one
        identity = Identity(**content.pop("identity"))
        return Record(folder, identity, config, config.pop("choices"), content)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise DamagedError(folder, f"is not a whole record ({error!r})") from error


def data_names(cells: Sequence[Record]) -> list[str]:
    """Return what the data set of each cell with a result is called, the same for cells with the same test split."""
    return data_labels(
        [
            (
                cell.cell["dataset"]["name"],
                cell.test_split,
                {name: value for name, value in cell.config["dataset"].items() if name not in UNTOLD_OF_DATA},
            )
            for cell in cells
        ]
    )


def facts(cell: Record) -> dict[str, Any]:
    """Return what tables say of a cell beside its scores: what tuning chose, what it is compared with, the finding.

    A baseline is not tuned, the doctor knows networks alone, and one fit may stand for all seeds.
    """
    tuning = cell.cell["tuning"]
    finding = cell.cell["finding"] or {"name": "", "evidence": "", "override": ""}
    return {
        "tuned": tuning["chosen"] if tuning else {},
        "at_edge": bool(tuning and tuning["at_edge"]),
        "untuned": cell.untuned()["test/accuracy"].mean() if tuning else float("nan"),
        "finding": finding["name"],
        "evidence": finding["evidence"],
        "override": finding["override"],
        "one_fit": cell.cell.get("draws") is False,
    }


def check(folder: Path, *, besides: str | None = None) -> None:
    """Raise DamagedError with the first file that is not as the manifest says; those below `besides` may be missing."""
    manifest = folder / MANIFEST
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
        facts_by_name = {name: (entry["size"], entry["sha256"]) for name, entry in entries.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(manifest, f"cannot be read ({error!r})") from error
    for name, facts in facts_by_name.items():
        path = folder / name
        if path.is_file():
            content = path.read_bytes()
            if (len(content), hashlib.sha256(content).hexdigest()) != facts:
                raise DamagedError(path, "is damaged: it is not what was written")
        elif besides is None or not name.startswith(f"{besides}/"):
            raise DamagedError(path, "is missing")


def find(root: Path) -> list[Path]:
    """Return every record folder below the output folders of `root`, oldest first.

    Another command may be at work there: what loses its name meanwhile is left out.
    """
    times = {}
    for place in PLACES:
        for folder, _, names in os.walk(root / place):  # unlike Path.glob it takes a folder that is gone for empty
            if MANIFEST in names and os.path.basename(folder) == FOLDER:  # noqa: PTH119 - of thousands of texts
                with suppress(FileNotFoundError):
                    times[Path(folder)] = Path(folder, MANIFEST).stat().st_mtime
    return sorted(times, key=lambda folder: times[folder])


def sweep_up(root: Path) -> None:
    """Delete what processes that were killed while they wrote a record have left below the output folders of `root`."""
    for place in PLACES:
        for folder in (root / place).glob(f"**/{FOLDER}.*.tmp"):
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > WRITTEN_BY_NOW:
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_folder(job_folder: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes the record folder if all goes well, and nothing otherwise."""
    temporary = job_folder / f"{FOLDER}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        (job_folder / PUBLISHED).unlink(missing_ok=True)  # that was said of the record before this one
        _finish(temporary, job_folder / FOLDER)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def copy(source: Path, job_folder: Path) -> None:
    """Bring a record into another job's folder; raises ValueError (`DamagedError`) if it is not whole.

    It keeps its identity, so both have the same runs in MLflow, and it is published if the other one is.
    """
    check(source)
    job_folder.mkdir(parents=True, exist_ok=True)
    with new_folder(job_folder) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        (folder / MANIFEST).unlink()
    if (published := source.parent / PUBLISHED).exists():
        shutil.copyfile(published, job_folder / PUBLISHED)


def _finish(temporary: Path, final: Path) -> None:
    """Write the manifest, force everything to the disk and give the folder its name."""
    manifest = {}
    for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
        content = path.read_bytes()
        name = path.relative_to(temporary).as_posix()
        manifest[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        sync(path)
    contents.write_json(temporary / MANIFEST, manifest)
    for path in (temporary / MANIFEST, *temporary.glob("*/"), temporary):
        sync(path)
    shutil.rmtree(final, ignore_errors=True)
    temporary.replace(final)
    sync(final.parent)


def _write_common(
    folder: Path,
    identity: Identity,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    cell: Mapping[str, Any],
    started: float,
) -> None:
    times = {"started": started, "ended": max(started, time.time())}  # whatever becomes of the clock
    contents.write_json(
        folder / CELL, {"identity": asdict(identity), "protocol_version": PROTOCOL_VERSION, **times, **cell}
    )
    tracking = {**config["tracking"]}
    if tracking.get("uri"):  # who publishes it later gives credentials of their own
        tracking["uri"] = store.without_credentials(tracking["uri"])
    told = {**config, "tracking": tracking, "choices": dict(choices)}
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    contents.write_json(folder / "environment.json", environment())


def publication(folder: Path) -> tuple[str, str] | None:
    """Return the run of a record folder and the URI of its store, as noted when it was published; None if it waits."""
    try:
        note = json.loads((folder.parent / PUBLISHED).read_text(encoding="utf-8"))
        return str(note["run_id"]), str(note["uri"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # it is published all the same
        return "", ""


def unpublished(root: Path) -> Iterator[Path]:
    """Yield the record folders below `root` that MLflow does not have yet, oldest first."""
    return (folder for folder in find(root) if not (folder.parent / PUBLISHED).exists())
