"""What the layers of a stack show of themselves while they train.

One to four steps of each epoch are watched, spread evenly with the last among them, so that watching costs little of
any epoch. Every number is one for each replica, (replicas,); layers count from 1.

Every layer: `grad_norm`, of the gradient that is trained on (with the penalty, before clipping), the mean over the
watched steps; `update_ratio`, the mean |step| of these over |parameters| at the end of the epoch;
`distance_from_start`, |parameters - initial parameters|.
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
MOST_WATCHED = 4  # steps of an epoch
STEPS_BETWEEN = 16  # at least, but the last step of an epoch is always watched
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
        step = np.subtract(model.params, self.params_before, out=self.params_before)
        self.step_norms += norms_by_layer(model, step)
        self.num_watched += 1
        self.seconds += perf_counter() - started

    def end_epoch(self, model: MLP) -> dict[str, NDArray]:
        """Return each metric with its values, (replicas,), and begin the next epoch.

        Units are seen as the last call of `model.forward` left them: on the last block of an evaluation.
        """
        started = perf_counter()
        num_watched = max(self.num_watched, 1)  # none where every replica has diverged
        grad_norms, step_norms = self.grad_norms / num_watched, self.step_norms / num_watched
        sizes = norms_by_layer(model, model.params)
        # Parameters that are all zero have no size to compare with.
        update_ratios = np.divide(step_norms, sizes, out=np.full_like(sizes, np.nan), where=sizes > 0)
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
        for name in ("start_params", "params_before", "grad_norms", "step_norms"):
            setattr(self, name, getattr(self, name)[rows])

    def _begin(self, model: MLP) -> None:
        self.num_watched = 0
        self.grad_norms = np.zeros((model.num_replicas, len(model.weights) + 1))  # last: the whole network
        self.step_norms = np.zeros_like(self.grad_norms)

    def _units(self, model: MLP) -> Iterator[tuple[str, NDArray]]:
        """Yield the metrics of the hidden layers' units."""
        for layer, (activation, largest) in enumerate(zip(model.activations, self.largest_slopes, strict=True)):
            slopes = model.slopes[layer]  # (replicas, samples, units)
            if activation.family == "rectifier":
                yield f"layer{layer + 1}/dead_units", (_over_samples(slopes) == 0).mean(axis=-1)
            elif activation.family == "squashing":
                yield f"layer{layer + 1}/saturation", (slopes < SATURATED * largest).mean(axis=(-2, -1))


def watched_steps(num_steps: int) -> set[int]:
    """Return which of the steps of an epoch, from 0, are watched."""
    number = max(1, min(MOST_WATCHED, num_steps // STEPS_BETWEEN))
    return {(part + 1) * num_steps // number - 1 for part in range(number)}


def norms_by_layer(model: MLP, values: NDArray) -> NDArray:
    """Return the norms of each layer's part and of the whole of (replicas, num_params): (replicas, layers + 1)."""
    squares = np.empty((len(values), len(model.weights) + 1))
    for layer, part in enumerate(model.layer_slices):
        squares[:, layer] = np.vecdot(values[:, part], values[:, part])
    squares[:, -1] = squares[:, :-1].sum(axis=-1)
    return np.sqrt(squares)


def _over_samples(slopes: NDArray) -> NDArray:
    """Return the sum over samples, (replicas, units), as a matrix product, which is several times faster than a sum."""
    return np.matmul(np.ones((1, slopes.shape[-2]), slopes.dtype), slopes)[:, 0]


def _largest_slope(activation: Activation) -> float:
    """Return the largest slope of an activation that squashes; its place is near zero."""
    z = np.linspace(-5, 5, 1001)
    value, slope = np.empty_like(z), np.empty_like(z)
    activation(z, value, slope)
    return float(slope.max())
