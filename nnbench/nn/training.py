"""Training of a stack: epochs of mini-batches, evaluation between them, and a state that can be saved and continued.

Each replica shuffles the training split with its own generator, so its batches depend on its own seed alone. The clock
runs during the steps only; evaluation and diagnostics stand outside it. A replica whose loss is no longer finite has
diverged: it leaves the stack with the parameters it had at that step, and the others go on as if it had never been
there. So does one that has lost patience, which is no failure: its curves stay level from then on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import inf
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from nnbench.nn.diagnostics import NOISE_BATCHES, Diagnostics, Watch, norms_by_layer, watched_steps
from nnbench.nn.mlp import MLP, blocks
from nnbench.nn.optimizers import Optimizer
from nnbench.nn.saving import read_arrays, write_arrays
from nnbench.nn.schedules import Constant, Schedule
from nnbench.nn.subnormals import flushed

Selection: TypeAlias = Literal["best", "last"]


class Samples(Protocol):
    """Inputs (samples, features) with their labels (samples,)."""

    @property
    def inputs(self) -> NDArray:
        """Return the inputs, (samples, features)."""

    @property
    def labels(self) -> NDArray:
        """Return the labels, (samples,), integers from 0."""


class Training:
    """A stack on its way: model, optimizer, random streams, history and the parameters selected so far.

    `rngs` shuffle the training split, one for each replica. `num_epochs` is the whole plan (schedules need it),
    whichever part of it a call of `run` does. `batch_size="full"` takes the whole training split, in its own order.
    `weight_decay` is the factor of the L2 penalty, weight_decay / 2 |weights|^2; `clip_norm` bounds the norm of each
    replica's gradient (Pascanu, Mikolov & Bengio, 2013, arXiv:1211.5063, algorithm 1). `selection="best"` keeps the
    parameters of the epoch with the highest validation accuracy (of equals, the lowest validation loss; of those, the
    first); "last" those of the last epoch. `patience` ends the training of a replica after so many epochs in a row that
    were no better by that measure, whatever the selection (Prechelt, 1998, Early stopping -- but when?).

    `history` maps a metric to its values, (epochs, replicas), not a number from the epoch in which a replica diverged;
    one that has stopped keeps its last values. `train/gradient_evaluations` counts the mini-batch gradients of a
    replica so far.
    """

    def __init__(
        self,
        model: MLP,
        optimizer: Optimizer,
        rngs: Sequence[np.random.Generator],
        *,
        num_epochs: int,
        batch_size: int | Literal["full"] = 32,
        schedule: Schedule | None = None,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        selection: Selection = "best",
        patience: int | None = None,
        diagnostics: Diagnostics = "basic",
    ):
        if len(rngs) != model.num_replicas:
            raise ValueError(f"there are {len(rngs)} generators for {model.num_replicas} replicas; give one for each")
        if batch_size != "full" and not (isinstance(batch_size, Integral) and batch_size >= 1):
            raise ValueError(f"batch_size is {batch_size!r}; it must be an integer of at least 1, or 'full'")
        if not 0 <= weight_decay < inf:
            raise ValueError(f"weight_decay is {weight_decay}; it must be a finite number of at least 0")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm is {clip_norm}; it must be above 0, or None")
        if selection not in get_args(Selection):
            raise ValueError(f"selection is {selection!r}; it must be best or last")
        if patience is not None and not patience >= 1:
            raise ValueError(f"patience is {patience}; it must be at least 1 epoch, or None")
        if diagnostics not in get_args(Diagnostics):
            raise ValueError(f"diagnostics is {diagnostics!r}; it must be none, basic or full")
        self.model = model
        self.optimizer = optimizer
        self.rngs = list(rngs)
        self.num_epochs = num_epochs
        self.batch_size = batch_size
        self.schedule = schedule or Constant()
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.selection = selection
        self.patience = patience
        self.diagnostics = diagnostics
        self.watch = None if diagnostics == "none" else Watch(model)

        num_replicas = model.num_replicas
        self.epoch = 0  # epochs done
        self.num_steps = 0  # of a replica that is still in the stack
        self.train_seconds = 0.0
        self.optimizer_seconds = 0.0  # the part of it that the optimizer's steps took
        self.evaluation_seconds = 0.0  # beside it
        self.num_replica_steps = 0  # steps of all replicas together
        self.history: dict[str, NDArray] = {}
        self.active = np.arange(num_replicas)  # replicas still in the stack: the place of each row of the model
        self.selected_params = model.params.copy()  # (replicas, num_params)
        self.selected_epoch = np.zeros(num_replicas, dtype=np.int64)
        self.best_accuracy = np.full(num_replicas, -np.inf)
        self.best_loss = np.full(num_replicas, np.inf)
        self.best_epoch = np.zeros(num_replicas, dtype=np.int64)
        self.stopped_epoch = np.full(num_replicas, -1, dtype=np.int64)  # -1 where patience was never lost
        self.diverged_step = np.full(num_replicas, -1, dtype=np.int64)  # steps done before; -1 where all is well
        self._batch = np.empty(0)  # the inputs of a step

    @property
    def diverged(self) -> NDArray:
        """Whether each replica has diverged, (replicas,)."""
        return self.diverged_step >= 0

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or no replica is left."""
        return self.epoch >= self.num_epochs or len(self.active) == 0

    def run(
        self,
        train: Samples,
        validation: Samples,
        *,
        num_epochs: int | None = None,
        on_epoch: Callable[["Training"], None] | None = None,
    ) -> None:
        """Train for `num_epochs` more epochs, by default to the end of the plan; `on_epoch` is called after each."""
        last = self.num_epochs if num_epochs is None else min(self.epoch + num_epochs, self.num_epochs)
        with np.errstate(all="ignore"):  # overflow is how divergence looks; it is checked, not warned of
            while self.epoch < last and not self.finished:
                with flushed():
                    batches = self._train_epoch(train)
                    self.epoch += 1
                    self._record(train, validation, batches)
                if on_epoch is not None:
                    on_epoch(self)

    def selected_model(self) -> MLP:
        """Return all replicas with the parameters that `selection` chose, diverged ones with those they diverged at."""
        return self.model.with_params(self.selected_params)

    def _train_epoch(self, train: Samples) -> list[tuple[NDArray, NDArray]]:
        """Take every step of one epoch; return its first mini-batches where full diagnostics look at their noise."""
        started, watched_before = perf_counter(), self._watch_seconds()
        order, labels = self._shuffled(train)
        num_samples = len(train.labels)
        batch_size = num_samples if order is None else min(int(self.batch_size), num_samples)
        starts = range(0, num_samples, batch_size)
        watched = set() if self.watch is None else watched_steps(len(starts))

        for number, start in enumerate(starts):
            batch = slice(start, min(start + batch_size, num_samples))
            while True:
                inputs = train.inputs if order is None else self._gather(train.inputs, order[:, batch])
                delta, loss = self._loss(inputs, labels[..., batch])
                finite = np.isfinite(loss)
                if finite.all():
                    break
                self._drop(~finite)
                if len(self.active) == 0:
                    break
                if order is not None:
                    order, labels = order[finite], labels[finite]
            if len(self.active) == 0:
                break

            self.model.backward(delta)
            if self.weight_decay:
                self.model.add_weight_decay(self.weight_decay)
            if self.watch is not None and number in watched:
                self.watch.before_step(self.model)
            if self.clip_norm is not None:
                self._clip(self.clip_norm)
            factor = self.schedule(self.epoch + start / num_samples, self.num_epochs)
            stepped = perf_counter()
            self.optimizer.step(self.model.grads, factor)
            self.optimizer_seconds += perf_counter() - stepped
            self.num_steps += 1
            self.num_replica_steps += len(self.active)
            if self.watch is not None and number in watched:
                self.watch.after_step(self.model)

        self.train_seconds += perf_counter() - started - (self._watch_seconds() - watched_before)
        if self.diagnostics != "full" or order is None:
            return []
        return [
            (train.inputs[order[:, start : start + batch_size]], labels[:, start : start + batch_size])
            for start in starts[:NOISE_BATCHES]
            if start + batch_size <= num_samples  # a last batch of other size has other noise
        ]

    def _watch_seconds(self) -> float:
        return 0.0 if self.watch is None else self.watch.seconds

    def _shuffled(self, train: Samples) -> tuple[NDArray | None, NDArray]:
        """Return the order of the samples and the labels in it, (replicas, samples); full batch: None, (samples,)."""
        if self.batch_size == "full":
            return None, train.labels
        order = np.stack([rng.permutation(len(train.labels)) for rng in self.rngs])
        return order, train.labels[order]

    def _gather(self, inputs: NDArray, order: NDArray) -> NDArray:
        """Return the inputs in that order, (replicas, batch, features), in a buffer that the next call overwrites."""
        shape = (*order.shape, inputs.shape[-1])
        if self._batch.shape != shape:  # at the start, for a last batch of other size, and where a replica has left
            self._batch = np.empty(shape, inputs.dtype)
        return np.take(inputs, order, axis=0, mode="clip", out=self._batch)  # "clip": no check of valid indices

    def _loss(self, inputs: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
        """Return d loss / d logits and the loss of each replica, (replicas,), before any penalty."""
        logits = self.model.forward(inputs)
        delta = np.empty_like(logits)
        return delta, self.model.loss(logits, labels, delta)

    def _clip(self, clip_norm: float) -> None:
        """Scale the gradient of each replica down to that norm where it is above."""
        norm = norms_by_layer(self.model, self.model.grads)[:, -1:]
        self.model.grads *= np.minimum(1, clip_norm / norm).astype(self.model.grads.dtype)

    def _record(self, train: Samples, validation: Samples, batches: list[tuple[NDArray, NDArray]]) -> None:
        """Evaluate the replicas that are left, write the epoch into the history and select parameters."""
        started = perf_counter()
        train_loss, train_accuracy = evaluate(self.model, train)
        val_loss, val_accuracy = evaluate(self.model, validation)
        self.evaluation_seconds += perf_counter() - started
        finite = np.isfinite(train_loss) & np.isfinite(val_loss)
        metrics = {
            "train/loss": train_loss,
            "train/accuracy": train_accuracy,
            "val/loss": val_loss,
            "val/accuracy": val_accuracy,
            "train/gradient_evaluations": np.full(len(self.active), self.num_steps),
            "time/train_seconds": np.full(len(self.active), self.train_seconds),
        }
        if self.weight_decay:
            metrics["train/objective"] = train_loss + self.model.penalty(self.weight_decay)
        self._append(metrics | self._diagnose(train, batches), finite)

        if not finite.all():
            self._drop(~finite)
        self._select(val_accuracy[finite], val_loss[finite])
        if self.patience is not None:
            impatient = self.epoch - self.best_epoch[self.active] >= self.patience
            if impatient.any():
                self.stopped_epoch[self.active[impatient]] = self.epoch
                self._leave(impatient)

    def _diagnose(self, train: Samples, batches: list[tuple[NDArray, NDArray]]) -> dict[str, NDArray]:
        """Return the diagnostics of the epoch, metric -> (replicas left,)."""
        if self.watch is None:
            return {}
        metrics = self.watch.end_epoch(self.model)
        if self.diagnostics == "full" and len(self.active):
            metrics |= self.watch.landscape(self.model, train.inputs, train.labels, batches, self.weight_decay)
        return metrics

    def _append(self, metrics: Mapping[str, NDArray], finite: NDArray) -> None:
        """Add an epoch to the history: values of the replicas that are left, of which those that are `finite` count."""
        num_replicas = len(self.diverged_step)
        names = list(dict.fromkeys([*self.history, *metrics]))
        missing = np.full(len(self.active), np.nan)  # could not be measured this time
        rows = np.full((len(names), num_replicas), np.nan)
        rows[:, self.active] = np.where(finite, [metrics.get(name, missing) for name in names], np.nan)
        stopped = self.stopped_epoch >= 0
        if stopped.any():
            rows[:, stopped] = [self.history[name][-1, stopped] for name in names]
        for name, row in zip(names, rows, strict=True):
            past = self.history.get(name)
            past = np.full((self.epoch - 1, num_replicas), np.nan) if past is None else past
            self.history[name] = np.concatenate([past, row[np.newaxis]])

    def _select(self, accuracy: NDArray, loss: NDArray) -> None:
        """Keep the parameters of replicas whose epoch is better than all before it, or of all if the last counts."""
        best_accuracy, best_loss = self.best_accuracy[self.active], self.best_loss[self.active]
        better = (accuracy > best_accuracy) | ((accuracy == best_accuracy) & (loss < best_loss))
        places = self.active[better]
        self.best_accuracy[places] = accuracy[better]
        self.best_loss[places] = loss[better]
        self.best_epoch[places] = self.epoch
        chosen = np.full_like(better, True) if self.selection == "last" else better
        self.selected_params[self.active[chosen]] = self.model.params[chosen]
        self.selected_epoch[self.active[chosen]] = self.epoch

    def _drop(self, rows: NDArray) -> None:
        """Take the replicas in these rows, a mask, out of the stack as diverged."""
        places = self.active[rows]
        self.diverged_step[places] = self.num_steps
        self.selected_params[places] = self.model.params[rows]
        self.selected_epoch[places] = self.epoch
        self._leave(rows)

    def _leave(self, rows: NDArray) -> None:
        """Go on without the replicas in these rows, a mask."""
        kept = np.flatnonzero(~rows)
        self.active = self.active[kept]
        self._take(kept)

    def _take(self, rows: NDArray) -> None:
        self.rngs = [self.rngs[row] for row in rows]
        self.model.take(rows)
        self.optimizer.take(rows, self.model.params)
        if self.watch is not None:
            self.watch.take(rows)

    def save(self, path: Path | str, *, identity: str = "") -> None:
        """Write all that `restore` needs to continue bit for bit, whole or not at all: arrays and JSON, no code.

        `identity` says whose state it is beyond what can be seen of it. Raises TypeError where a part may keep
        something that would not be saved, OSError where the file cannot be written.
        """
        for part in (self.schedule, self.model.loss, *self.model.activations):
            dataclass_params = getattr(part, "__dataclass_params__", None)
            if getattr(part, "__dict__", None) and not (dataclass_params and dataclass_params.frozen):
                raise TypeError(
                    f"{type(part).__name__} may change while it trains, so that no training with it can be saved; "
                    "make it a frozen dataclass"
                )
        arrays = self._arrays()
        for (name, one), (other, two) in combinations([*arrays.items(), ("grads", self.model.grads)], 2):
            if np.may_share_memory(one, two):
                raise TypeError(
                    f"{name} and {other} share memory, and would not do so in a training that continues, so that none "
                    "can be saved; make one a copy"
                )
        plain = {
            **{name: getattr(self, name) for name in self._number_names},
            **self._origin(identity),
            "rngs": [rng.bit_generator.state for rng in self.rngs],
            "watch_seconds": self._watch_seconds(),
        }
        history = {f"history/{name}": values for name, values in self.history.items()}
        write_arrays(Path(path), {"plain": np.array(json.dumps(plain)), **arrays, **history})

    def restore(self, path: Path | str, *, identity: str = "") -> None:
        """Continue from what `save` wrote; this training must be new, and built with the same settings.

        Raises ValueError, and changes nothing, if the file is damaged or of another training; OSError if it cannot be
        read.
        """
        if self.epoch or len(self.active) < len(self.diverged_step):
            raise ValueError(f"this training has done {self.epoch} epochs; build a new one to continue {path} with")
        arrays = read_arrays(Path(path))
        plain = json.loads(str(arrays.get("plain", "{}")))
        for what, own in json.loads(json.dumps(self._origin(identity))).items():  # as JSON holds it, without tuples
            if plain.get(what) != own:
                raise ValueError(f"{path} is of another training: its {what} is {plain.get(what)}; wanted is {own}")
        try:
            self._check_arrays(arrays, plain["epoch"])
            rngs = [np.random.Generator(type(self.rngs[place].bit_generator)(0)) for place in arrays["active"]]
            for rng, state in zip(rngs, plain["rngs"], strict=True):
                rng.bit_generator.state = state
            numbers = {name: plain[name] for name in self._number_names}
            watch_seconds = plain["watch_seconds"]
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is not the state of such a training ({error!r}); delete it") from error

        self._take(arrays["active"])
        self.rngs = rngs
        np.copyto(self.model.params, arrays["params"])
        if self.watch is not None:
            np.copyto(self.watch.start_params, arrays["start_params"])
            self.watch.seconds = watch_seconds
        self.optimizer.restore(_below("optimizer/", arrays))
        for name in self._array_names:
            setattr(self, name, arrays[name])
        for name, number in numbers.items():
            setattr(self, name, number)
        self.history = _below("history/", arrays)

    def _origin(self, identity: str) -> dict[str, Any]:
        """Return what a state has in common with the training that continues it, as JSON can hold it."""
        return {
            "network": {**self.model.architecture(), "replicas": len(self.diverged_step)},
            "optimizer": type(self.optimizer).__name__,
            "identity": identity,
        }

    def _arrays(self) -> dict[str, NDArray]:
        """Return all arrays of the present state but for the history, by the name that they have in a file."""
        arrays = {name: getattr(self, name) for name in self._array_names}
        arrays |= {"params": self.model.params}
        if self.watch is not None:
            arrays |= {"start_params": self.watch.start_params}
        return arrays | {f"optimizer/{name}": value for name, value in self.optimizer.state().items()}

    def _check_arrays(self, arrays: Mapping[str, NDArray], epoch: int) -> None:
        """Raise KeyError or ValueError unless these can become the arrays of this new training."""
        active, num_replicas = arrays["active"], len(self.diverged_step)
        if not np.array_equal(active, np.intersect1d(active, np.arange(num_replicas))):
            raise ValueError(f"active is {active.tolist()}, of {num_replicas} replicas")
        wanted = {f"history/{name}": np.empty((epoch, num_replicas)) for name in _below("history/", arrays)}
        for name, own in self._arrays().items():
            if name == "active":
                wanted[name] = own[: len(active)]
            elif name in self._array_names:
                wanted[name] = own
            elif own.shape == self.selected_params.shape:  # the parameters, and what an optimizer has of each
                wanted[name] = own[: len(active)]
            elif name not in arrays:
                raise KeyError(name)
        for name, own in wanted.items():
            if (arrays[name].shape, arrays[name].dtype) != (own.shape, own.dtype):
                raise ValueError(f"{name} is {arrays[name].shape} {arrays[name].dtype}, not {own.shape} {own.dtype}")

    _number_names = (
        "epoch",
        "num_steps",
        "train_seconds",
        "optimizer_seconds",
        "evaluation_seconds",
        "num_replica_steps",
    )
    _array_names = (
        "active",
        "selected_params",
        "selected_epoch",
        "best_accuracy",
        "best_loss",
        "best_epoch",
        "stopped_epoch",
        "diverged_step",
    )


def evaluate(model: MLP, samples: Samples) -> tuple[NDArray, NDArray]:
    """Return the mean loss (without penalty) and the accuracy of each replica on a split, two arrays (replicas,)."""
    loss, num_right = np.zeros((2, model.num_replicas))
    for block in blocks(len(samples.labels)):
        labels = samples.labels[block]
        logits = model.forward(samples.inputs[block])
        num_right += (model.loss.predict(logits) == labels).sum(axis=-1)
        loss += len(labels) * model.loss(logits, labels, np.empty_like(logits))
    return loss / len(samples.labels), num_right / len(samples.labels)


def spawn_rngs(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Return a seed's two independent streams: for the initial parameters and for the order of the batches."""
    initial, order = np.random.SeedSequence(seed).spawn(2)
    return np.random.default_rng(initial), np.random.default_rng(order)


def _below(prefix: str, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
