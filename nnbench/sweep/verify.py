"""A run of the store, trained again and compared bit for bit.

The record of the run's cell is fetched into a temporary folder, what it describes is trained again, and a second record
is written beside it; then the numbers of the two are compared, all but the times. A replica's bits depend on its own
seed and settings alone, so the run of a replica is trained alone. The store is read, never written.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nnbench.components import ConfigError
from nnbench.data import Dataset
from nnbench.data.loading import load
from nnbench.protocol import baselines
from nnbench.protocol.baselines import BaselineCell, BaselineResult
from nnbench.protocol.cell import Cell
from nnbench.protocol.fingerprint import PROTOCOL_VERSION, fingerprint
from nnbench.protocol.result import CellResult
from nnbench.protocol.result import run as run_cell
from nnbench.settings import parse
from nnbench.terminal import CellProgress, say
from nnbench.tracking import read, record
from nnbench.tracking.record import Record

HISTORY = "history.parquet"
NETWORK = "network"
KEYS = ("epoch", "trial", "parameter", "seed")  # columns that say where a number stands, in the order of reading
SHOWN = 5  # differences of each table
WITHOUT_RESULT = {
    "FAILED": "failed",
    "KILLED": "was interrupted",
    "RUNNING": "is still in training, or its process is gone",
}


class CannotVerifyError(Exception):
    """There is nothing to compare with, or nothing to train from; `problems` has one line for each reason."""

    def __init__(self, *problems: str):
        self.problems = problems
        super().__init__("\n".join(problems))


class ChangedError(Exception):
    """Something that determines the result is not what it was, so another result is to be expected."""


@dataclass(frozen=True)
class Target:
    """What is to be trained again: a cell, or one replica of it."""

    label: str
    cell_run_id: str  # of the run that has the record
    seed: int | None  # None: all seeds of the cell, and its tuning


@dataclass(frozen=True)
class Difference:
    """A number that is not what it was, as text."""

    table: str
    seed: str
    epoch: str
    metric: str
    stored: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of training again."""

    num_numbers: int  # compared
    num_different: int
    num_seeds: int
    seconds: float  # of all that was trained again, evaluation included
    differences: tuple[Difference, ...]  # the first of each table
    environment: Mapping[str, tuple[str, str]]  # what is not as it was: then, now
    notes: tuple[str, ...]  # on what could not be compared

    @property
    def identical(self) -> bool:
        """Whether every number has the bits that it had."""
        return self.num_different == 0


@dataclass(frozen=True)
class _Side:
    """What is compared of a record, in memory."""

    record: Record
    tables: dict[str, pd.DataFrame]  # numbers, and the columns of KEYS
    environment: dict[str, str]


def verify(uri: str, run_id: str, activation_choices: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Train a run of the store at a resolved URI again; `run_id` is its id, or a beginning that no other id has.

    Raises CannotVerifyError where that is not possible, ChangedError where another result is to be expected.
    """
    target = find(uri, run_id)
    with TemporaryDirectory(prefix="nnbench-verify-") as temporary, threadpool_limits(1):  # as it was trained
        folder = Path(temporary)
        stored = _fetch(uri, target, folder / "stored")
        cell, dataset = _prepare(stored.record, activation_choices)
        if target.seed is not None:
            cell = _alone(cell, target.seed, stored.record)
        now, seconds = _train(cell, dataset, target, stored.record, folder / "now")
        if target.seed is not None and not stored.record.is_baseline:
            now.tables[HISTORY] = _as_in_a_stack(now, num_epochs=len(stored.tables[HISTORY]))
        note = _add_networks(stored, now, uri, target, folder)
        compared = [_compare(name, table, now.tables[name]) for name, table in stored.tables.items()]
    return Comparison(
        num_numbers=sum(num_numbers for num_numbers, _, _ in compared),
        num_different=sum(num_different for _, num_different, _ in compared),
        num_seeds=len(cell.seeds),
        seconds=seconds,
        differences=tuple(difference for _, _, differences in compared for difference in differences),
        environment=_differing(stored.environment, now.environment),
        notes=(note,) if note else (),
    )


def find(uri: str, run_id: str) -> Target:
    """Return what a run stands for; raise CannotVerifyError unless it is one of a cell with a result."""
    run = _run(uri, run_id)
    name, kind = run.info.run_name, run.data.tags.get("nnbench.kind")
    if kind not in ("cell", "baseline", "replica"):
        raise CannotVerifyError(
            f"the run {name} is {f'of the kind {kind}' if kind else 'not of nnbench'}; give the id of a cell or of a "
            "replica, which stands on its page in python -m nnbench ui"
        )
    cell = run if kind != "replica" else _run(uri, run.data.tags["mlflow.parentRunId"])
    if cell.info.status != "FINISHED":
        state = WITHOUT_RESULT.get(cell.info.status, f"is {cell.info.status}")
        reason = cell.data.tags.get("nnbench.reason")
        raise CannotVerifyError(
            f"{cell.info.run_name} {state}{f' ({reason})' if reason else ''}, so there is no result to compare with; "
            f"train it first, with {cell.data.tags.get('mlflow.source.name')}"
        )
    return Target(name, cell.info.run_id, int(run.data.params["seed"]) if kind == "replica" else None)


def _run(uri: str, run_id: str) -> Any:
    """Return MLflow's run of that id, or the only one whose id starts so."""
    if not re.fullmatch("[0-9a-f]{1,32}", run_id):
        raise CannotVerifyError(f"{run_id!r} is no run id; it has 32 of the digits 0 to 9 and a to f")
    with _refusal(f"{uri} cannot be read", "give the store with --tracking-uri"):
        runs = read.runs_by_id(uri, run_id)
    if not runs:
        raise CannotVerifyError(f"{uri} has no run {run_id}; give another id, or the run's store with --tracking-uri")
    if len(runs) > 1:
        raise CannotVerifyError(f"{uri} has several runs whose id starts with {run_id}; give more of it")
    return runs[0]


def _fetch(uri: str, target: Target, folder: Path) -> _Side:
    """Return what the store has of the target."""
    with _refusal(f"the record of {target.label} cannot be used", "train it again with resume=false", hide=folder):
        return _side(record.read(read.fetch(uri, target.cell_run_id, folder)), target)


def _side(cell: Record, target: Target) -> _Side:
    """Read what is compared of a record: of a replica its own rows, of a cell those of tuning, too."""
    tables = {"replicas.csv": cell.replicas()}
    if not cell.is_baseline:
        tables[HISTORY] = cell.history()
    if target.seed is None:
        tables |= {"tuning.csv": cell.tuning(), "untuned.csv": cell.untuned()}
    else:
        tables = {name: table[table["seed"] == target.seed] for name, table in tables.items()}
    return _Side(cell, {name: _as_numbers(table) for name, table in tables.items()}, _flat(cell.environment()))


def _prepare(
    stored: Record, activation_choices: Mapping[str, Mapping[str, Any]]
) -> tuple[Cell | BaselineCell, Dataset]:
    """Return the record's cell and its data, nothing of which has changed."""
    way_out = f"verify it in the folder (and with the --config-dir) of its training, {stored.identity.command}"
    try:
        cell = parse(stored.config, stored.choices, activation_choices)
    except ConfigError as error:
        raise CannotVerifyError(*(f"{problem}; {way_out}" for problem in error.problems)) from error
    with _refusal("its data cannot be loaded", way_out):
        dataset = load(cell.source, cell.dtype)
    digest = stored.cell["dataset"]["digest"]
    if dataset.digest != digest:
        raise ChangedError(
            f"the data has changed: the digest of {dataset.name} was {digest[:16]} and is {dataset.digest[:16]}; "
            "verify with the data of the training"
        )
    mark = fingerprint(stored.config, digest, activation_choices)
    if mark != stored.identity.fingerprint:
        raise ChangedError(
            f"{_changed(stored, activation_choices)}: the fingerprint was {stored.identity.fingerprint[:16]} and is "
            f"{mark[:16]}; verify with the code of the training"
        )
    return cell, dataset


def _changed(stored: Record, activation_choices: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what has, or can have, changed the fingerprint of equal settings on equal data."""
    if (version := stored.cell["protocol_version"]) != PROTOCOL_VERSION:
        return f"the protocol has changed from version {version} to {PROTOCOL_VERSION}"
    config = stored.config
    by_layer = config["layer_activations"] or []
    groups = [entry for entry in config.values() if isinstance(entry, Mapping)]
    targets = [entry.get("_target_", "") for entry in [*groups, *(activation_choices[name] for name in by_layer)]]
    plugins = sorted({target.rpartition(".")[0] for target in targets} & set(config["plugins"]))
    suspects = [f"the plugin {name}" for name in plugins]
    suspects += [f"the file of the activation {name}" for name in dict.fromkeys(by_layer)]
    return f"{' or '.join(suspects or ['what the fingerprint takes in'])} has changed"


def _alone(cell: Cell | BaselineCell, seed: int, stored: Record) -> Cell | BaselineCell:
    """Return a replica as a cell of its own: one seed, with the hyperparameters that tuning chose configured."""
    if isinstance(cell, BaselineCell):
        return replace(cell, seeds=(seed,))
    tuning = stored.cell["tuning"]
    chosen = tuning["chosen"] if tuning else {}
    columns = {name: np.full((1, 1), value) for name, value in chosen.items()}  # as a stack of one has them
    return replace(
        cell,
        seeds=(seed,),
        tuning=None,
        new_optimizer=partial(cell.new_optimizer, **columns),
        learning_rate=chosen.get("learning_rate", cell.learning_rate),
    )


def _train(
    cell: Cell | BaselineCell, dataset: Dataset, target: Target, stored: Record, folder: Path
) -> tuple[_Side, float]:
    """Train a cell and write its record; return what is compared, and the seconds of training and evaluation."""
    say(f"training {target.label} again")
    num_epochs = 1 if isinstance(cell, BaselineCell) else cell.num_epochs
    progress = CellProgress(target.label, job=0, num_cells=1, num_epochs=num_epochs, shown=True)
    started = perf_counter()
    with _refusal("training again failed", "the stored training did not, so see what is different here"):
        with progress:
            result: CellResult | BaselineResult
            if isinstance(cell, BaselineCell):
                result = baselines.run(cell, dataset)
            else:
                result = run_cell(cell, dataset, on_epoch=progress.epoch_done)
        seconds = perf_counter() - started
        identity, config, choices = stored.identity, stored.config, stored.choices
        written = record.write(folder, identity, config, choices, dataset, result, started=time.time() - seconds)
    return _side(record.read(written), target), seconds


def _as_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its status as a number."""
    if "status" not in table:
        return table
    return table.assign(diverged=(table["status"] == "diverged").astype(float)).drop(columns="status")


def _as_in_a_stack(now: _Side, *, num_epochs: int) -> pd.DataFrame:
    """Return the curves of a replica that trained alone over as many epochs as its stack had.

    A stack goes on until its last replica has ended; until then the curves of one that has stopped stay level, and
    those of one that has diverged are not numbers.
    """
    history = now.tables[HISTORY]
    stopped = bool(now.tables["replicas.csv"]["train/stopped_epoch"].notna().all())
    epochs = pd.RangeIndex(1, max(num_epochs, len(history)) + 1, name="epoch")
    curves = history.set_index("epoch").reindex(epochs, method="ffill" if stopped else None)
    return curves.assign(seed=history["seed"].iloc[0]).reset_index()


def _add_networks(stored: _Side, now: _Side, uri: str, target: Target, folder: Path) -> str:
    """Add the parameters of the best replica to both sides; return why not, where they cannot be compared."""
    if stored.record.is_baseline:
        return ""
    best = stored.record.cell["best_seed"]
    if stored.record.status == "diverged":
        return ""
    if target.seed not in (None, best):
        return f"the store keeps the network of the best seed, {best}, alone, so no network was compared"
    if now.record.status == "diverged" or now.record.cell["best_seed"] != best:
        return "the best seed is another one now, so no network was compared"
    try:
        stored.tables[NETWORK] = _network(read.fetch_network(uri, target.cell_run_id, folder), best)
    except Exception as error:  # never logged, deleted or damaged; the tables are compared all the same
        return f"the network cannot be had from the store ({_line(error)}), so it was not compared"
    now.tables[NETWORK] = _network(now.record.folder / record.NETWORK, best)
    return ""


def _network(path: Path, seed: int) -> pd.DataFrame:
    """Return the parameters of a network of one replica."""
    with np.load(path, allow_pickle=False) as file:
        (params,) = file["params"]
    return pd.DataFrame({"seed": seed, "parameter": range(len(params)), "value": params})


def _compare(name: str, stored: pd.DataFrame, now: pd.DataFrame) -> tuple[int, int, list[Difference]]:
    """Return how many numbers two tables have, how many of them differ, and the first of those."""
    keys = [key for key in KEYS if key in now]
    if not keys:  # there is no such table, because nothing was tuned
        return 0, 0, []
    stored, now = _by_key(stored, keys), _by_key(now, keys)
    places, metrics = stored.index.union(now.index), stored.columns.union(now.columns, sort=False)
    was, is_now = (table.reindex(places, columns=metrics).to_numpy(np.float64) for table in (stored, now))
    different = np.argwhere(_bits(was) != _bits(is_now))
    first = []
    for row, column in different[:SHOWN]:
        place = dict(zip(keys, np.atleast_1d(places[row]), strict=True))
        numbers = [repr(float(values[row, column])) for values in (was, is_now)]
        metric = _metric(metrics[column], place)
        first.append(Difference(name, str(place["seed"]), str(place.get("epoch", "")), metric, *numbers))
    return was.size, len(different), first


def _by_key(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the numbers of a table by their place, without the times."""
    return table.drop(columns=[name for name in table if name.startswith("time/")]).set_index(keys)


def _bits(values: NDArray) -> NDArray:
    """Return the bits of numbers as integers; whatever is not a number is the same."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def _metric(name: str, place: Mapping[str, Any]) -> str:
    if "parameter" in place:
        return f"parameter {place['parameter']}"
    return f"{name} of trial {place['trial']}" if "trial" in place else name


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what two environments do not have in common, each as it was and as it is."""
    pairs = {name: (then.get(name, "unknown"), now.get(name, "unknown")) for name in dict.fromkeys([*then, *now])}
    return {name: (was, is_now) for name, (was, is_now) in pairs.items() if was != is_now}


def _flat(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return an environment without levels, as text."""
    blas = {" ".join(str(value) for value in library.values()) for library in environment["blas"]}
    flat = {**environment, **environment["packages"], "blas": ", ".join(sorted(blas))}
    return {name: str(value) for name, value in flat.items() if name != "packages"}


@contextmanager
def _refusal(what: str, way_out: str, *, hide: Path | None = None) -> Iterator[None]:
    """Turn any error into a line that says what cannot be done, why, and the way out; `hide` is left out of paths."""
    try:
        yield
    except Exception as error:  # of a server, a database, a file, a plugin: each raises its own kinds
        reason = _line(error)
        if hide is not None:
            reason = re.sub(rf"{re.escape(str(hide))}/\S+/", "", reason)
        raise CannotVerifyError(f"{what}: {reason}; {way_out}") from error


def _line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
