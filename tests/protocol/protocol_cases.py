"""What the tests of the protocol share: a cell that trains in a moment, its data, the conf folder, watching splits."""

import importlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from nnbench.data import Dataset, Moons, Split
from nnbench.nn import GD, Adam, Auto, Constant, ReLU, SoftmaxCrossEntropy, Training
from nnbench.protocol import stack
from nnbench.protocol.cell import Cell
from nnbench.protocol.result import CellResult, Scores, finish
from nnbench.protocol.search import Range

CONF = Path(__file__).parents[2] / "conf"
MOONS = Moons(num_points=400, scaling="standard").load()
# The middle one of three replicas takes steps so large that its loss overflows.
ONE_DIVERGES = partial(GD, learning_rate=np.array([[0.1], [1e30], [0.1]]))
ALL_DIVERGE = partial(GD, learning_rate=1e30)
TOUCHY = 0.25


def cell(**changes: Any) -> Cell:
    """Return a small cell, some of its settings changed."""
    settings: dict[str, Any] = {
        "choices": {"optimizer": "adam", "activation": "relu", "dataset": "moons"},
        "source": Moons(),
        "activations": (ReLU(),),
        "loss": SoftmaxCrossEntropy(),
        "initializer": Auto(),
        "schedule": Constant(),
        "new_optimizer": Adam,
        "learning_rate": 0.001,
        "hidden": (8,),
        "bias": True,
        "seeds": (0, 1, 2),
        "vary": "all",
        "num_epochs": 5,
        "batch_size": 32,
        "weight_decay": 0.0,
        "clip_norm": None,
        "selection": "best",
        "patience": None,
        "dtype": "float32",
        "diagnostics": "basic",
        "target_accuracy": None,
        "tuning": None,
        "space": {},
        "untuned": {},
        "stack_size": None,
    }
    return Cell(**settings | changes)


def start(cell: Cell, dataset: Dataset = MOONS) -> Training:
    """Return a cell's stack before its first step."""
    return stack.start(cell, dataset, cell.seeds)


def train(cell: Cell, dataset: Dataset = MOONS) -> Training:
    """Train a cell as one stack to the end of its plan."""
    training = start(cell, dataset)
    training.run(dataset.train, dataset.validation)
    return training


def trained(cell: Cell, dataset: Dataset = MOONS) -> stack.Trained:
    """Train a cell, in stacks of the size that it wants."""
    return stack.train(cell, dataset, cell.seeds)


def scores_of(cell: Cell, dataset: Dataset = MOONS) -> Scores:
    """Train a cell and open the test split."""
    return finish(cell, dataset, trained(cell, dataset))


def with_test(inputs: NDArray, labels: NDArray) -> Dataset:
    """Return the data with another test split."""
    return replace(MOONS, test=Split(inputs, labels))


def entries(group: str) -> dict[str, dict[str, Any]]:
    """Return the files of a config group by name; those of tuning=none and the like are empty."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / group).glob("*.yaml"))}


def part(entry: dict[str, Any]) -> partial:
    """Return the class that a file of the conf folder names, with its keyword arguments bound."""
    module, _, name = entry["_target_"].rpartition(".")
    options = {key: value for key, value in entry.items() if key not in ("_target_", "space")}
    return partial(getattr(importlib.import_module(module), name), **options)


def space(entry: dict[str, Any]) -> dict[str, Range]:
    """Return where tuning may look for the hyperparameters of an optimizer's file."""
    return {name: Range(**ends) for name, ends in entry["space"].items()}


class WatchedSplit:
    """A split that counts how often its inputs and its labels are read."""

    def __init__(self, split: Split):
        self.split = split
        self.num_reads = {"inputs": 0, "labels": 0}

    @property
    def inputs(self) -> NDArray:
        self.num_reads["inputs"] += 1
        return self.split.inputs

    @property
    def labels(self) -> NDArray:
        self.num_reads["labels"] += 1
        return self.split.labels

    def __len__(self) -> int:
        return len(self.split)


def bits(scores: Scores, replicas: Sequence[int] | None = None) -> dict[str, NDArray]:
    """Return all that scores say but for times, by name; the replica is the last axis, some of them if asked."""
    arrays = {
        "params": scores.trained.model.params.T,
        "selected_epoch": scores.trained.selected_epoch,
        "stopped_epoch": scores.trained.stopped_epoch,
        "diverged_step": scores.trained.diverged_step,
        "predictions": scores.test.predictions.T,
        **{f"history/{name}": values for name, values in scores.trained.history.items()},
        **{f"summary/{name}": values for name, values in scores.summary.items()},
    }
    wanted = slice(None) if replicas is None else list(replicas)
    return {name: values[..., wanted] for name, values in arrays.items() if "/time/" not in name}


def assert_same_bits(actual: dict[str, NDArray], wanted: dict[str, NDArray]) -> None:
    """Compare exactly; not a number equals itself."""
    assert actual.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(actual[name], wanted[name], err_msg=name, strict=True)


def assert_same_results(one: CellResult, other: CellResult) -> None:
    """Compare the final replicas, the untuned ones and the table of tuning, exactly but for times."""
    assert_same_bits(bits(one.final), bits(other.final))
    assert (one.tuning is None) == (other.tuning is None)
    if one.tuning is not None and other.tuning is not None:
        assert_same_bits(dict(one.tuning.table), dict(other.tuning.table))
        assert one.tuning.chosen == other.tuning.chosen
        assert (one.untuned is one.final) == (other.untuned is other.final)
        assert one.untuned is not None
        assert other.untuned is not None
        assert_same_bits(bits(one.untuned), bits(other.untuned))


def all_bits(result: CellResult) -> dict[str, NDArray]:
    """Return all that a cell leaves behind but for times, by name."""
    arrays = {f"final/{name}": values for name, values in bits(result.final).items()}
    arrays |= {"finding": np.array(repr(result.finding)), "status": np.array(result.status)}
    arrays |= {"test_openings": np.array(result.test_openings)}
    if result.tuning is not None and result.untuned is not None:
        tuning = result.tuning
        found = (tuning.chosen, tuning.num_trials, tuning.num_extensions, tuning.at_edge, tuning.gradient_evaluations)
        arrays |= {"tuning": np.array(repr(found)), "default": np.array(result.untuned is result.final)}
        arrays |= {f"tuning/{name}": values for name, values in tuning.table.items()}
        arrays |= {f"untuned/{name}": values for name, values in bits(result.untuned).items()}
    return arrays


class Seldom(GD):
    """Gradient descent that overflows where the last initial weight of a replica is large: for some seeds only."""

    def __init__(self, params: NDArray, *, learning_rate: Any = 0.1):
        super().__init__(params, learning_rate=learning_rate)
        touchy = params[:, -3:-2] > TOUCHY  # the last bias comes last, and is zero
        self.learning_rate = np.where(touchy, 1e30, self.learning_rate)
