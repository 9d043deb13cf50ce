"""Replicas of a cell, trained together: as one stack, or as several where memory bounds its size.

Seeds are paired: seed s draws the same unit initial weights and the same batch order in every cell.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset
from nnbench.nn import MLP, Training, spawn_rngs
from nnbench.protocol.cell import Cell

OnEpoch: TypeAlias = Callable[[Training], None]
COMMON_SEED = 0  # draws for every replica what `vary` keeps from varying


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What trained replicas leave behind, in the order in which they were asked for."""

    seeds: tuple[int, ...]
    model: MLP  # all replicas, with the parameters that were selected
    history: Mapping[str, NDArray]  # metric -> (epochs, replicas)
    selected_epoch: NDArray  # (replicas,), as all of the following
    stopped_epoch: NDArray  # -1 where patience was never lost
    diverged_step: NDArray  # -1 where all is well
    train_seconds: float  # of all stacks, one after the other
    optimizer_seconds_per_step: float  # of one replica
    diagnostics_seconds: float

    @property
    def diverged(self) -> NDArray:
        """Whether each replica has diverged, (replicas,)."""
        return self.diverged_step >= 0

    @property
    def gradient_evaluations(self) -> NDArray:
        """Mini-batch gradients that each replica has computed, (replicas,)."""
        return np.where(self.diverged, self.diverged_step, self.history["train/gradient_evaluations"][-1])


def start(
    cell: Cell, dataset: Dataset, seeds: Sequence[int], hyperparameters: Mapping[str, NDArray] | None = None
) -> Training:
    """Return a stack with initial parameters, ready to run: one replica for each seed.

    `hyperparameters` maps names to values, one for each replica, (replicas,), in place of the configured ones.
    """
    model = MLP(
        cell.layer_sizes(dataset.num_features, dataset.num_classes),
        activations=cell.activations,
        loss=cell.loss,
        num_replicas=len(seeds),
        bias=cell.bias,
        dtype=cell.dtype,
    )
    initial_seeds = [COMMON_SEED if cell.vary == "order" else seed for seed in seeds]
    order_seeds = [COMMON_SEED if cell.vary == "init" else seed for seed in seeds]
    model.initialize(cell.initializer, [spawn_rngs(seed)[0] for seed in initial_seeds])
    columns = {name: values[:, np.newaxis] for name, values in (hyperparameters or {}).items()}
    return Training(
        model,
        cell.new_optimizer(model.params, **columns),
        [spawn_rngs(seed)[1] for seed in order_seeds],
        num_epochs=cell.num_epochs,
        batch_size=cell.batch_size,
        schedule=cell.schedule,
        weight_decay=cell.weight_decay,
        clip_norm=cell.clip_norm,
        selection=cell.selection,
        patience=cell.patience,
        diagnostics=cell.diagnostics,
    )


def train(
    cell: Cell,
    dataset: Dataset,
    seeds: Sequence[int],
    hyperparameters: Mapping[str, NDArray] | None = None,
    *,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train one replica for each seed to the end, in stacks of at most `cell.stack_size`."""
    size = cell.stack_size or len(seeds)
    trainings = []
    for first in range(0, len(seeds), size):
        part = slice(first, first + size)
        training = start(
            cell, dataset, seeds[part], {name: values[part] for name, values in (hyperparameters or {}).items()}
        )
        training.run(dataset.train, dataset.validation, on_epoch=on_epoch)
        trainings.append(training)
    return merge(seeds, trainings)


def merge(seeds: Sequence[int], trainings: Sequence[Training]) -> Trained:
    """Return what stacks that were trained one after the other leave behind, as if they had been one."""
    num_epochs = max(training.epoch for training in trainings)
    names = dict.fromkeys(name for training in trainings for name in training.history)
    num_replica_steps = sum(training.num_replica_steps for training in trainings)
    return Trained(
        seeds=tuple(seeds),
        model=trainings[0].model.with_params(np.concatenate([training.selected_params for training in trainings])),
        history={
            name: np.concatenate([_curves(training, name, num_epochs) for training in trainings], axis=-1)
            for name in names
        },
        selected_epoch=np.concatenate([training.selected_epoch for training in trainings]),
        stopped_epoch=np.concatenate([training.stopped_epoch for training in trainings]),
        diverged_step=np.concatenate([training.diverged_step for training in trainings]),
        train_seconds=sum(training.train_seconds for training in trainings),
        optimizer_seconds_per_step=sum(training.optimizer_seconds for training in trainings)
        / max(num_replica_steps, 1),
        diagnostics_seconds=sum(training.watch.seconds for training in trainings if training.watch is not None),
    )


def _curves(training: Training, name: str, num_epochs: int) -> NDArray:
    """Return a metric's history as it would be had another replica of the stack gone on, (num_epochs, replicas)."""
    missing = (num_epochs - training.epoch, len(training.diverged_step))
    if name not in training.history:  # every replica diverged before it could be measured
        return np.full((num_epochs, missing[1]), np.nan)
    curves = training.history[name]
    return np.concatenate([curves, np.broadcast_to(training.after_the_end(name), missing)])
