"""Replicas of a cell, trained together: as one stack where they are small, or as several that fit the cache each.

Several are trained epoch by epoch in turns, or one after the other where memory is short (`stack_size`). Which replicas
share a stack changes no bit of any of them.

Seeds are paired: seed s draws the same unit initial weights and the same batch order in every cell.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset
from nnbench.nn import MLP, Training, spawn_rngs
from nnbench.nn.mlp import params_by_layer
from nnbench.nn.optimizers import Optimizer
from nnbench.protocol.cell import Cell
from nnbench.protocol.checkpoint import Checkpoint

OnEpoch: TypeAlias = Callable[[Training], None]
# Parameters, gradients, an optimizer's two states and its scratch, 6 MB together, stay in a share of the last cache. A
# step of 784-128-64-10 takes 17 % longer in a stack of 10 than alone; 64-32-10 gains nothing more from 70 replicas on.
PARAMS_OF_A_STACK = 300_000
SECONDS = "time/train_seconds"
COMMON_SEED = 0  # draws for every final replica what `vary` keeps from varying


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What trained replicas leave behind, in the order in which they were asked for."""

    seeds: tuple[int, ...]
    model: MLP  # all replicas, with the parameters that were selected
    optimizer: type[Optimizer]
    history: Mapping[str, NDArray]  # metric -> (epochs, replicas)
    selected_epoch: NDArray  # (replicas,), as all of the following
    stopped_epoch: NDArray  # -1 where patience was never lost
    diverged_step: NDArray  # -1 where all is well
    train_seconds: float  # of all stacks, added up
    optimizer_seconds: float  # the part of it that the optimizer's steps took
    evaluation_seconds: float  # beside it, on training and validation after each epoch
    diagnostics_seconds: float  # beside it, too
    num_replica_steps: int  # steps of all replicas together

    @property
    def num_epochs(self) -> int:
        """Epochs until the last replica ended."""
        return len(self.history["train/loss"])

    @property
    def optimizer_seconds_per_step(self) -> float:
        """Seconds of a step of the optimizer, of one replica."""
        return self.optimizer_seconds / max(self.num_replica_steps, 1)

    @property
    def diverged(self) -> NDArray:
        """Whether each replica has diverged, (replicas,)."""
        return self.diverged_step >= 0

    @property
    def gradient_evaluations(self) -> NDArray:
        """Mini-batch gradients that each replica has computed, (replicas,)."""
        return np.where(self.diverged, self.diverged_step, self.history["train/gradient_evaluations"][-1])


def start(
    cell: Cell,
    dataset: Dataset,
    seeds: Sequence[int],
    hyperparameters: Mapping[str, NDArray] | None = None,
    *,
    common_seed: int = COMMON_SEED,
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
    initial_seeds = [common_seed if cell.vary == "order" else seed for seed in seeds]
    order_seeds = [common_seed if cell.vary == "init" else seed for seed in seeds]
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
    common_seed: int = COMMON_SEED,
    on_epoch: OnEpoch | None = None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train one replica for each seed to the end.

    What `checkpoint` has of them is not trained again, and `on_epoch` does not hear of it.
    """
    size = cell.stack_size or fastest_size(cell, dataset)

    def begin(first: int) -> Training:
        part = slice(first, first + size)
        of_part = {name: values[part] for name, values in (hyperparameters or {}).items()}
        build = partial(start, cell, dataset, seeds[part], of_part, common_seed=common_seed)
        if checkpoint is None:
            return build()
        stack = {
            "seeds": list(seeds[part]),
            "hyperparameters": {name: values.tolist() for name, values in of_part.items()},
            "common_seed": common_seed,
        }
        return checkpoint.begin(stack, build)

    def epoch_done(training: Training) -> None:
        if checkpoint is not None:
            checkpoint.epoch_done(training)
        if on_epoch is not None:
            on_epoch(training)

    def alone(first: int) -> Training:
        training = begin(first)
        training.run(dataset.train, dataset.validation, on_epoch=epoch_done)
        return training

    firsts = range(0, len(seeds), size)
    if cell.stack_size is not None:
        return merge(seeds, map(alone, firsts))
    stacks = [begin(first) for first in firsts]
    pool = ThreadPoolExecutor(cell.stacks_at_once)
    try:
        at_once = pool.map if min(cell.stacks_at_once, len(stacks)) > 1 else map
        while running := [training for training in stacks if not training.finished]:
            for _ in at_once(lambda training: training.run(dataset.train, dataset.validation, num_epochs=1), running):
                pass
            for training in running:
                epoch_done(training)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # whoever is stopped waits for no epoch
    return merge(seeds, stacks)


def fastest_size(cell: Cell, dataset: Dataset) -> int:
    """Return how many replicas of a network train fastest together."""
    sizes = cell.layer_sizes(dataset.num_features, dataset.num_classes)
    return max(1, PARAMS_OF_A_STACK // sum(params_by_layer(sizes, bias=cell.bias)))


def merge(seeds: Sequence[int], trainings: Iterable[Training]) -> Trained:
    """Return what stacks leave behind, as if they had been one.

    Each is let go, with its buffers and its optimizer, before the next is asked for, if they are trained one by one.
    """
    stacks = [_trained(training) for training in trainings]
    return Trained(
        seeds=tuple(seeds),
        model=stacks[0].model.with_params(np.concatenate([stack.model.params for stack in stacks])),
        optimizer=stacks[0].optimizer,
        history=histories(stacks, max(stack.num_epochs for stack in stacks)),
        selected_epoch=np.concatenate([stack.selected_epoch for stack in stacks]),
        stopped_epoch=np.concatenate([stack.stopped_epoch for stack in stacks]),
        diverged_step=np.concatenate([stack.diverged_step for stack in stacks]),
        train_seconds=sum(stack.train_seconds for stack in stacks),
        optimizer_seconds=sum(stack.optimizer_seconds for stack in stacks),
        evaluation_seconds=sum(stack.evaluation_seconds for stack in stacks),
        diagnostics_seconds=sum(stack.diagnostics_seconds for stack in stacks),
        num_replica_steps=sum(stack.num_replica_steps for stack in stacks),
    )


def histories(stacks: Sequence[Trained | Training], num_epochs: int) -> dict[str, NDArray]:
    """Return so many epochs of the curves of stacks as if they were one, metric -> (num_epochs, replicas).

    Of the clock, that is the time which all of them have taken for the epochs so far.
    """
    names = dict.fromkeys(name for stack in stacks for name in stack.history)
    curves = {name: np.concatenate([_curves(stack, name, num_epochs) for stack in stacks], axis=-1) for name in names}
    if SECONDS in curves:
        together = np.sum([_clock(_curves(stack, SECONDS, num_epochs)) for stack in stacks], axis=0)
        curves[SECONDS] = np.where(np.isnan(curves[SECONDS]), np.nan, together[:, np.newaxis])
    return curves


def _clock(seconds: NDArray) -> NDArray:
    """Return the time of a stack after each epoch, (epochs,), from its replicas'; it stands once all have ended."""
    return np.fmax.accumulate(np.fmax.reduce(seconds, axis=-1, initial=0.0))


def _trained(training: Training) -> Trained:
    """Return what one stack leaves behind; which seeds it has, `merge` says."""
    return Trained(
        seeds=(),
        model=training.selected_model(),
        optimizer=type(training.optimizer),
        history=training.history,
        selected_epoch=training.selected_epoch,
        stopped_epoch=training.stopped_epoch,
        diverged_step=training.diverged_step,
        train_seconds=training.train_seconds,
        optimizer_seconds=training.optimizer_seconds,
        evaluation_seconds=training.evaluation_seconds,
        diagnostics_seconds=0.0 if training.watch is None else training.watch.seconds,
        num_replica_steps=training.num_replica_steps,
    )


def _curves(stack: Trained | Training, name: str, num_epochs: int) -> NDArray:
    """Return a metric's history as it would be had another replica of the stack gone on, (num_epochs, replicas)."""
    num_replicas = len(stack.diverged_step)
    if name not in stack.history:  # every replica diverged before it could be measured
        return np.full((num_epochs, num_replicas), np.nan)
    curves = stack.history[name][:num_epochs]
    level = np.where(stack.stopped_epoch >= 0, curves[-1], np.nan)
    return np.concatenate([curves, np.broadcast_to(level, (num_epochs - len(curves), num_replicas))])
