"""What the layers of a stack show of themselves while they train.

Some steps of each epoch are watched, spread evenly with the last among them, so that an epoch of thousands of steps
costs no more to watch than a short one. Every number is one for each replica, (replicas,); layers count from 1.

Every layer: `grad_norm` (of the gradient that is trained on: with the penalty, before clipping) and `update_ratio`,
|step| / |parameters|, both means over the watched steps; `distance_from_start`, |parameters - initial parameters|.
Hidden layers, on validation samples: `dead_units`, the share of a rectifier's units whose slope is zero for every
sample; `saturation`, the share of a squashing layer's outputs whose slope is below 5 % of the largest.
In full: `gradient_snr` of each layer and of all, `train/largest_eigenvalue`, see `nnbench.nn.curvature`.

Cockpit has most of them for PyTorch: Schneider, Dangel & Hennig, 2021, arXiv:2102.06604.
"""

from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnbench.nn.activations import Activation
from nnbench.nn.curvature import gradient_signal_to_noise, largest_eigenvalue
from nnbench.nn.mlp import MLP

Diagnostics: TypeAlias = Literal["none", "basic", "full"]
WATCHED_STEPS = 4  # of an epoch
NOISE_BATCHES = 8  # mini-batches of an epoch whose gradients are compared
CURVATURE_SAMPLES = 256  # training samples of the loss whose Hessian is looked at
SATURATED = 0.05  # of the largest slope


class Watch:
    """Follows the layers of one stack; `seconds` is what that took."""

    def __init__(self, model: MLP):
        self.start_params = model.params.copy()  # (replicas, num_params)
        self.params_before = np.empty_like(model.params)
        self.largest_slopes = [_largest_slope(activation) for activation in model.activations]
        self.seconds = 0.0
        self._begin(model)

    def before_step(self, model: MLP) -> None:
        """Note the gradients, and the parameters that are about to change."""
        started = perf_counter()
        self.grad_norms += norms_by_layer(model, model.grads)
        np.copyto(self.params_before, model.params)
        self.seconds += perf_counter() - started

    def after_step(self, model: MLP) -> None:
        """Note how far the parameters went."""
        started = perf_counter()
        sizes = norms_by_layer(model, self.params_before)
        update = np.subtract(model.params, self.params_before, out=self.params_before)
        # Parameters that are all zero have no size to compare with.
        self.update_ratios += np.divide(
            norms_by_layer(model, update), sizes, out=np.full_like(sizes, np.nan), where=sizes > 0
        )
        self.num_watched += 1
        self.seconds += perf_counter() - started

    def end_epoch(self, model: MLP) -> dict[str, NDArray]:
        """Return each metric with its values, (replicas,), and begin the next epoch.

        Units are seen as the last call of `model.forward` left them: on the last block of an evaluation.
        """
        started = perf_counter()
        grad_norms, update_ratios = self.grad_norms / self.num_watched, self.update_ratios / self.num_watched
        distances = norms_by_layer(model, np.subtract(model.params, self.start_params, out=self.params_before))
        metrics = {"train/grad_norm": grad_norms[:, -1]}
        for layer in range(len(model.weights)):
            metrics[f"layer{layer + 1}/grad_norm"] = grad_norms[:, layer]
            metrics[f"layer{layer + 1}/update_ratio"] = update_ratios[:, layer]
            metrics[f"layer{layer + 1}/distance_from_start"] = distances[:, layer]
        metrics |= dict(self._units(model))
        self._begin(model)
        self.seconds += perf_counter() - started
        return metrics

    def landscape(
        self,
        model: MLP,
        inputs: NDArray,
        labels: NDArray,
        batches: Iterable[tuple[NDArray, NDArray]],
        weight_decay: float,
    ) -> dict[str, NDArray]:
        """Return the noise of the gradients of `batches` and the curvature on the training split, (replicas,) each.

        Overwrites the model's gradients and buffers. Without two batches there is no noise to measure.
        """
        started = perf_counter()
        some = np.linspace(0, len(labels) - 1, min(len(labels), CURVATURE_SAMPLES)).astype(np.intp)
        metrics = {
            "train/largest_eigenvalue": largest_eigenvalue(model, inputs[some], labels[some], weight_decay=weight_decay)
        }
        ratios = gradient_signal_to_noise(model, batches, weight_decay=weight_decay)
        if not np.isnan(ratios).all():
            metrics["train/gradient_snr"] = ratios[:, -1]
            metrics |= {f"layer{layer}/gradient_snr": ratio for layer, ratio in enumerate(ratios.T[:-1], start=1)}
        self.seconds += perf_counter() - started
        return metrics

    def take(self, rows: NDArray) -> None:
        """Go on with the given rows of the stack alone."""
        for name in ("start_params", "params_before", "grad_norms", "update_ratios"):
            setattr(self, name, getattr(self, name)[rows])

    def _begin(self, model: MLP) -> None:
        self.num_watched = 0
        self.grad_norms = np.zeros((model.num_replicas, len(model.weights) + 1))  # last: the whole network
        self.update_ratios = np.zeros_like(self.grad_norms)

    def _units(self, model: MLP) -> Iterator[tuple[str, NDArray]]:
        """Yield the metrics of the hidden layers' units."""
        for layer, (activation, largest) in enumerate(zip(model.activations, self.largest_slopes, strict=True)):
            slopes = model.slopes[layer]  # (replicas, samples, units)
            if activation.family == "rectifier":
                yield f"layer{layer + 1}/dead_units", (slopes.max(axis=-2) == 0).mean(axis=-1)
            elif activation.family == "squashing":
                yield f"layer{layer + 1}/saturation", (slopes < SATURATED * largest).mean(axis=(-2, -1))


def watched_steps(num_steps: int) -> set[int]:
    """Return which of the steps of an epoch, from 0, are watched."""
    return {(part + 1) * num_steps // WATCHED_STEPS - 1 for part in range(WATCHED_STEPS)} - {-1}


def norms_by_layer(model: MLP, values: NDArray) -> NDArray:
    """Return the norms of each layer's part and of the whole of (replicas, num_params): (replicas, layers + 1)."""
    squares = np.empty((len(values), len(model.weights) + 1))
    for layer, part in enumerate(model.layer_slices()):
        squares[:, layer] = np.vecdot(values[:, part], values[:, part])
    squares[:, -1] = squares[:, :-1].sum(axis=-1)
    return np.sqrt(squares)


def _largest_slope(activation: Activation) -> float:
    """Return the largest slope of an activation that squashes; its place is near zero."""
    z = np.linspace(-5, 5, 1001)
    value, slope = np.empty_like(z), np.empty_like(z)
    activation(z, value, slope)
    return float(slope.max())
