"""Losses on labels, each with its output layer and its gradient.

A loss takes the logits of a stack, (replicas, batch, outputs), and integer labels, (replicas, batch) or (batch,) where
all replicas see the same samples. It fills `delta` with d loss / d logits and returns the mean over the batch of the
loss per sample, (replicas,), in float64. Means, not sums: a learning rate means the same for every batch size.
Any memory layout will do; the network's has the samples of one output side by side, which is what reductions over the
outputs are fast in.
Any finite logit gives a finite gradient, and a finite loss unless the loss itself is too large for float64.
`curvature_product` differentiates `delta` once more; training does without it, the Hessian of `nnbench.nn.curvature`
does not.

To add one: a frozen dataclass with the four methods of `Loss`, and with `curvature_product` if its Hessian is wanted,
and a file in `conf/loss/` that names it.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nnbench.nn.activations import sigmoid


class Loss(Protocol):
    """What training needs of a loss."""

    def num_outputs(self, num_classes: int) -> int:
        """Return the width of the output layer."""

    def __call__(self, logits: NDArray, labels: NDArray, delta: NDArray) -> NDArray:
        """Fill `delta` with the gradient and return the loss of each replica, (replicas,)."""

    def probabilities(self, logits: NDArray) -> NDArray:
        """Return the probability of each class, (replicas, batch, classes); rows sum to 1 only for a softmax."""

    def predict(self, logits: NDArray) -> NDArray:
        """Return the predicted labels, (replicas, batch)."""


@runtime_checkable
class CurvedLoss(Loss, Protocol):
    """A loss whose second derivatives are known."""

    def curvature_product(self, logits: NDArray, labels: NDArray, direction: NDArray) -> NDArray:
        """Return how `delta` changes as the logits move along `direction`, all (replicas, batch, outputs).

        That is the Hessian of the mean loss with respect to the logits, times `direction`: 1 / batch is in it.
        """


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """-log of the softmax probability of the label: multinomial logistic regression on the last hidden layer.

        p_k = e^(z_k) / sum_j e^(z_j)        loss = -log p_label        d loss / dz = p - onehot(label)

    Bridle, 1990. The softmax is taken over the outputs of each sample, shifted by that sample's own maximum.
    """

    def num_outputs(self, num_classes: int) -> int:
        """One output for each class."""
        return num_classes

    def __call__(self, logits: NDArray, labels: NDArray, delta: NDArray) -> NDArray:
        """Fill `delta` with the gradient and return the loss of each replica, (replicas,)."""
        num_samples = logits.shape[-2]
        is_label = _is_label(labels, logits.shape[-1])
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            largest = np.maximum.reduce(logits, axis=-1, keepdims=True)
            exponentials = np.subtract(logits, largest, out=delta)
            np.exp(exponentials, out=exponentials)
            total = np.add.reduce(exponentials, axis=-1, keepdims=True)
            of_label = np.add.reduce(logits * is_label, axis=-1, keepdims=True)
            # In float64, so that the difference of two large float32 logits is still a finite loss.
            loss = np.log(total, dtype=np.float64)
            loss += np.subtract(largest, of_label, dtype=np.float64)
        probabilities = np.divide(exponentials, total, out=delta)
        probabilities -= is_label
        delta /= num_samples
        return np.add.reduce(loss, axis=(-2, -1)) / num_samples

    def curvature_product(self, logits: NDArray, labels: NDArray, direction: NDArray) -> NDArray:
        """Hessian times d, (diag(p) - p p^T) d = p (d - p . d), of each sample, over the batch size."""
        probabilities = softmax(logits)
        return probabilities * (direction - _dot(probabilities, direction)) / logits.shape[-2]

    def probabilities(self, logits: NDArray) -> NDArray:
        """Softmax over the outputs, (replicas, batch, classes)."""
        return softmax(logits)

    def predict(self, logits: NDArray) -> NDArray:
        """Return the class of the largest logit."""
        return logits.argmax(axis=-1)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Cross-entropy of independent sigmoid outputs, summed over the outputs of a sample.

        a_k = sigmoid(z_k)        loss = -sum_k [t_k log a_k + (1 - t_k) log(1 - a_k)]        d loss / dz = a - t

    Two classes take one output, more take one each. Targets are `low` and `high`, 0 <= low < high <= 1.
    Bishop, 2006, Pattern Recognition and Machine Learning, equations 4.90 and 5.22.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check_targets(self.low, self.high)
        if self.low < 0 or self.high > 1:
            raise ValueError(
                f"low and high are {self.low} and {self.high}; they are probabilities and must lie in [0, 1]"
            )

    def num_outputs(self, num_classes: int) -> int:
        """One output for two classes, else one for each class."""
        return 1 if num_classes == 2 else num_classes

    def __call__(self, logits: NDArray, labels: NDArray, delta: NDArray) -> NDArray:
        """Fill `delta` with the gradient and return the loss of each replica, (replicas,)."""
        targets = _targets(logits, labels, self.low, self.high)
        # -t log a - (1 - t) log(1 - a) = softplus(z) - t z, which is max(z, 0) - t z + log(1 + e^-|z|).
        wide = logits.astype(np.float64)
        loss = np.maximum(wide, 0) - targets * wide + np.log1p(np.exp(-np.abs(wide)))
        sigmoid(logits, out=delta)
        delta -= targets
        delta /= logits.shape[-2]
        return loss.sum(axis=-1).mean(axis=-1)

    def curvature_product(self, logits: NDArray, labels: NDArray, direction: NDArray) -> NDArray:
        """Hessian times d, a (1 - a) d whatever the targets, of each sample, over the batch size."""
        outputs = sigmoid(logits)
        return outputs * (1 - outputs) * direction / logits.shape[-2]

    def probabilities(self, logits: NDArray) -> NDArray:
        """Where each output lies from `low` to `high`, as (1 - p, p) for a single one; several need not sum to 1."""
        return _as_classes(_rescaled(sigmoid(logits), self.low, self.high))

    def predict(self, logits: NDArray) -> NDArray:
        """Return the class of the largest logit; of a single output, whether its target is nearer to `high`."""
        if logits.shape[-1] == 1:
            return (sigmoid(logits[..., 0]) > (self.low + self.high) / 2).astype(np.intp)
        return logits.argmax(axis=-1)


@dataclass(frozen=True)
class MeanSquaredError:
    """Half the squared distance between the outputs and their targets, the quadratic cost.

        a = f(z)        loss = 1/2 sum_k (a_k - t_k)^2        d loss / dz = (a - t) f'(z)

    `output` is f: "sigmoid", "softmax", "leaky_relu" (slope `negative_slope` below zero) or "identity". One output for
    two classes (two for softmax), else one for each class; targets are `low` and `high`. Summed over outputs and halved
    as in Nielsen, Neural Networks and Deep Learning, equation 6; PyTorch and Keras divide by the number of outputs
    instead.
    """

    output: Literal["sigmoid", "softmax", "leaky_relu", "identity"] = "sigmoid"
    low: float = 0.0
    high: float = 1.0
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        _check_targets(self.low, self.high)
        if self.output not in ("sigmoid", "softmax", "leaky_relu", "identity"):
            raise ValueError(f"output is {self.output!r}; it must be sigmoid, softmax, leaky_relu or identity")
        if not 0 <= self.negative_slope < 1:
            raise ValueError(f"negative_slope is {self.negative_slope}; it must be at least 0 and below 1")

    def num_outputs(self, num_classes: int) -> int:
        """One output for two classes unless a softmax needs both, else one for each class."""
        return 1 if num_classes == 2 and self.output != "softmax" else num_classes

    def __call__(self, logits: NDArray, labels: NDArray, delta: NDArray) -> NDArray:
        """Fill `delta` with the gradient and return the loss of each replica, (replicas,)."""
        error = self.outputs(logits)
        outputs = error.copy()
        error -= _targets(logits, labels, self.low, self.high)
        loss = np.square(error, dtype=np.float64).sum(axis=-1) / 2
        if self.output == "softmax":  # the Jacobian is diag(a) - a a^T
            error -= (error * outputs).sum(axis=-1, keepdims=True)
            error *= outputs
        elif self.output == "sigmoid":
            error *= outputs * (1 - outputs)
        elif self.output == "leaky_relu":
            error[logits <= 0] *= self.negative_slope
        np.divide(error, logits.shape[-2], out=delta)
        return loss.mean(axis=-1)

    def curvature_product(self, logits: NDArray, labels: NDArray, direction: NDArray) -> NDArray:
        """Hessian times d of each sample, over the batch size.

        With the error e = a - t, a' = f'(z) d the change of the outputs along d, and f one function for each output:

            d/dz of e f'(z), times d  =  a' f'(z) + e f''(z) d

        f'' is 0 but for the sigmoid, f'' = f' (1 - 2 a). The softmax couples the outputs: its gradient is
        a (e - a . e), its a' = a (d - a . d), and by the product rule, as a' is also the change of e,

            a' (e - a . e) + a (a' - a' . e - a . a')
        """
        outputs = self.outputs(logits)
        error = outputs - _targets(logits, labels, self.low, self.high)
        match self.output:
            case "sigmoid":
                slope = outputs * (1 - outputs)
                product = slope * (slope + error * (1 - 2 * outputs)) * direction
            case "softmax":
                change = outputs * (direction - _dot(outputs, direction))
                product = change * (error - _dot(outputs, error))
                product += outputs * (change - _dot(change, error) - _dot(outputs, change))
            case "leaky_relu":
                product = np.where(logits > 0, direction, self.negative_slope**2 * direction)
            case _:
                product = direction.copy()
        product /= logits.shape[-2]
        return product

    def outputs(self, logits: NDArray) -> NDArray:
        """f(z), (replicas, batch, outputs)."""
        match self.output:
            case "sigmoid":
                return sigmoid(logits)
            case "softmax":
                return softmax(logits)
            case "leaky_relu":
                return np.where(logits > 0, logits, self.negative_slope * logits)
            case _:
                return logits.copy()

    def probabilities(self, logits: NDArray) -> NDArray:
        """Outputs read as probabilities: clipped to [low, high] and rescaled; they need not sum to 1."""
        return _as_classes(_rescaled(self.outputs(logits), self.low, self.high))

    def predict(self, logits: NDArray) -> NDArray:
        """Return the class of the largest output; of a single output, whether it is nearer to `high`."""
        if logits.shape[-1] == 1:
            return (self.outputs(logits)[..., 0] > (self.low + self.high) / 2).astype(np.intp)
        return logits.argmax(axis=-1)


def softmax(logits: NDArray) -> NDArray:
    """e^z / sum e^z over the last axis, shifted by each row's own maximum."""
    with np.errstate(over="ignore", under="ignore"):
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _dot(left: NDArray, right: NDArray) -> NDArray:
    """Return the inner product over the outputs of each sample, (replicas, batch, 1)."""
    return (left * right).sum(axis=-1, keepdims=True)


def _is_label(labels: NDArray, num_outputs: int) -> NDArray:
    """Return whether each output is that of the label, (replicas, batch, outputs), laid out as the network's logits."""
    return (labels[..., np.newaxis, :] == np.arange(num_outputs)[:, np.newaxis]).swapaxes(-1, -2)


def _targets(logits: NDArray, labels: NDArray, low: float, high: float) -> NDArray:
    """Return the wanted outputs, (replicas, batch, outputs): `high` at the label, `low` elsewhere."""
    labels = np.broadcast_to(labels, logits.shape[:-1])
    is_label = labels[..., np.newaxis] == 1 if logits.shape[-1] == 1 else _is_label(labels, logits.shape[-1])
    return np.where(is_label, high, low).astype(logits.dtype)


def _rescaled(outputs: NDArray, low: float, high: float) -> NDArray:
    """Return where the outputs lie between `low` (0) and `high` (1)."""
    return (np.clip(outputs, low, high) - low) / (high - low)


def _as_classes(outputs: NDArray) -> NDArray:
    """Turn one output for two classes into (1 - a, a); leave several as they are."""
    return np.concatenate([1 - outputs, outputs], axis=-1) if outputs.shape[-1] == 1 else outputs


def _check_targets(low: float, high: float) -> None:
    if not -inf < low < high < inf:
        raise ValueError(f"low is {low} and high is {high}; low must be below high, and both finite")
