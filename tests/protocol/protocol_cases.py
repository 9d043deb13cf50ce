"""What the tests of the protocol share: a cell that trains in a moment, its data, and test splits that watch."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset, Moons, Split
from nnbench.nn import Adam, Auto, Constant, ReLU, SoftmaxCrossEntropy, Training
from nnbench.protocol.cell import Cell, CellResult, finish, start

MOONS = Moons(num_points=400, scaling="standard").load()


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
        "hidden": (8,),
        "bias": True,
        "seeds": (0, 1, 2),
        "num_epochs": 5,
        "batch_size": 32,
        "weight_decay": 0.0,
        "clip_norm": None,
        "selection": "best",
        "dtype": "float32",
        "diagnostics": "basic",
        "target_accuracy": None,
    }
    return Cell(**settings | changes)


def train(cell: Cell, dataset: Dataset = MOONS) -> Training:
    """Train a cell to the end of its plan."""
    training = start(cell, dataset)
    training.run(dataset.train, dataset.validation)
    return training


def result_of(cell: Cell, dataset: Dataset = MOONS) -> CellResult:
    """Train a cell and open the test split."""
    return finish(cell, dataset, train(cell, dataset))


def with_test(inputs: NDArray, labels: NDArray) -> Dataset:
    """Return the data with another test split."""
    return replace(MOONS, test=Split(inputs, labels))


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


def same_but_for_times(one: CellResult, other: CellResult) -> bool:
    """Whether two results agree bit for bit."""
    np.testing.assert_array_equal(one.model.params, other.model.params)
    for actual, wanted in ((one.history, other.history), (one.summary, other.summary)):
        assert actual.keys() == wanted.keys()
        for name in actual:
            if not name.startswith("time/"):
                np.testing.assert_array_equal(actual[name], wanted[name], err_msg=name)
    return True
