"""A cell: one setting, trained as a stack with one replica for each seed, and what came of it.

Seeds are paired: seed s draws the same unit initial weights and the same batch order in every cell. Validation chooses
the parameters; the test split is opened once, by `finish`, for the replicas that did not diverge.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset, Source
from nnbench.nn import MLP, Training, spawn_rngs
from nnbench.nn.activations import Activation
from nnbench.nn.initializers import Initializer
from nnbench.nn.losses import Loss
from nnbench.nn.optimizers import Optimizer
from nnbench.nn.schedules import Schedule
from nnbench.nn.training import Selection
from nnbench.protocol.evaluation import TestScores, score

Status = Literal["finished", "diverged", "failed", "interrupted"]
Diagnostics = Literal["none", "basic"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that determines a result, as objects ready to use."""

    choices: Mapping[str, str]  # the name chosen in each group: optimizer -> adam
    source: Source
    activations: tuple[Activation, ...]  # one for each hidden layer
    loss: Loss
    initializer: Initializer
    schedule: Schedule
    new_optimizer: Callable[[NDArray], Optimizer]  # from the parameters it is to change
    hidden: tuple[int, ...]
    bias: bool
    seeds: tuple[int, ...]
    num_epochs: int
    batch_size: int | Literal["full"]
    weight_decay: float
    clip_norm: float | None
    selection: Selection
    dtype: Literal["float32", "float64"]
    diagnostics: Diagnostics
    target_accuracy: float | None

    def steps_per_epoch(self, num_samples: int) -> int:
        """Return the number of mini-batches in a training split of that size."""
        return 1 if self.batch_size == "full" else -(-num_samples // self.batch_size)


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell leaves behind: one entry for each replica, in the order of the seeds."""

    seeds: tuple[int, ...]
    statuses: tuple[Status, ...]
    history: Mapping[str, NDArray]  # metric -> (epochs, replicas)
    summary: Mapping[str, NDArray]  # metric -> (replicas,)
    scores: TestScores
    model: MLP  # the whole stack, with the selected parameters
    best_replica: int  # its place: the best on validation
    train_seconds: float  # of the whole stack
    evaluation_seconds: float

    @property
    def status(self) -> Status:
        """Diverged if every replica has, else finished."""
        return "diverged" if all(status == "diverged" for status in self.statuses) else "finished"


def start(cell: Cell, dataset: Dataset) -> Training:
    """Return the cell's stack with initial parameters, ready to run."""
    model = MLP(
        (dataset.num_features, *cell.hidden, cell.loss.num_outputs(dataset.num_classes)),
        activations=cell.activations,
        loss=cell.loss,
        num_replicas=len(cell.seeds),
        bias=cell.bias,
        dtype=cell.dtype,
    )
    initial_rngs, order_rngs = zip(*(spawn_rngs(seed) for seed in cell.seeds), strict=True)
    model.initialize(cell.initializer, initial_rngs)
    return Training(
        model,
        cell.new_optimizer(model.params),
        order_rngs,
        num_epochs=cell.num_epochs,
        batch_size=cell.batch_size,
        schedule=cell.schedule,
        weight_decay=cell.weight_decay,
        clip_norm=cell.clip_norm,
        selection=cell.selection,
    )


def finish(cell: Cell, dataset: Dataset, training: Training) -> CellResult:
    """Open the test split, once for each replica that did not diverge, and sum up."""
    started = perf_counter()
    model = training.selected_model()
    scores = score(model, dataset, ~training.diverged)
    epochs = np.maximum(training.selected_epoch, 1) - 1
    places = np.arange(len(cell.seeds))
    summary = {
        f"{split}/selected_{metric}": training.history[f"{split}/{metric}"][epochs, places]
        for split in ("train", "val")
        for metric in ("loss", "accuracy")
    }
    # A diverged replica has no parameters to speak of, so it is scored at chance level on every split.
    for name, values in summary.items():
        values[training.diverged] = 1 / dataset.num_classes if name.endswith("accuracy") else np.nan
    summary["val/selected_epoch"] = np.where(training.diverged, np.nan, training.selected_epoch)
    summary |= scores.summary
    summary |= _time_to_target(training, cell.target_accuracy)
    accuracy = np.where(training.diverged, -np.inf, summary["val/selected_accuracy"])
    return CellResult(
        seeds=cell.seeds,
        statuses=tuple("diverged" if diverged else "finished" for diverged in training.diverged),
        history=_visible(training.history, cell.diagnostics),
        summary=summary,
        scores=scores,
        model=model,
        best_replica=int(np.lexsort((summary["val/selected_loss"], -accuracy))[0]),
        train_seconds=training.train_seconds,
        evaluation_seconds=perf_counter() - started,
    )


def _visible(history: Mapping[str, NDArray], diagnostics: Diagnostics) -> dict[str, NDArray]:
    """Return the metrics that were asked for: those of single layers are diagnostics."""
    return {name: values for name, values in history.items() if diagnostics != "none" or not name.startswith("layer")}


def _time_to_target(training: Training, target_accuracy: float | None) -> dict[str, NDArray]:
    """Return epochs and stack seconds until the validation accuracy met the target; a miss is infinity."""
    if target_accuracy is None:
        return {}
    met = training.history["val/accuracy"] >= target_accuracy  # (epochs, replicas)
    first, ever = met.argmax(axis=0), met.any(axis=0)
    seconds = np.take_along_axis(training.history["time/train_seconds"], first[np.newaxis], axis=0)[0]
    return {
        "val/target_epoch": np.where(ever, first + 1.0, np.inf),
        "time/target_seconds": np.where(ever, seconds, np.inf),
    }
