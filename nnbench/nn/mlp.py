"""The multilayer perceptron: a stack of replicas of one architecture, trained and evaluated together.

Axis 0 of every array is the replica. All parameters are one contiguous array, `params` (replicas, num_params), and so
are their gradients; the weights and biases of a layer are views of it, in the order weights 1, biases 1, weights 2, ...
`np.matmul` on 3-D stacks makes one BLAS call for each replica, so a replica has the same bits alone and among others.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nnbench.nn import activations as activations_module
from nnbench.nn import losses as losses_module
from nnbench.nn.activations import Activation, Identity
from nnbench.nn.initializers import Initializer
from nnbench.nn.losses import Loss

FORMAT = "nnbench-mlp-1"
EVALUATION_BLOCK = 1024  # samples at most at a time, so that the activations of a block stay in the cache
MOST_BATCH_SIZES = 8  # for which buffers are kept: training, its last batch, evaluation blocks and their remainders


class MLP:
    """A stack of fully connected networks with one activation for each hidden layer and a linear output layer.

    `layer_sizes` is (inputs, *hidden, outputs); no hidden layer makes a linear model, softmax regression with
    `SoftmaxCrossEntropy`. What the outputs mean belongs to the `loss`, which the model carries for its predictions.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activations: Sequence[Activation],
        loss: Loss,
        num_replicas: int = 1,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
    ):
        if len(layer_sizes) < 2 or min(layer_sizes) < 1:
            raise ValueError(f"layer_sizes is {list(layer_sizes)}; it must be two or more sizes of at least 1")
        if len(activations) != len(layer_sizes) - 2:
            raise ValueError(
                f"there are {len(activations)} activations for {len(layer_sizes) - 2} hidden layers; give one for each"
            )
        self.layer_sizes = tuple(layer_sizes)
        self.activations = tuple(activations)
        self.loss = loss
        self.bias = bias
        self._hold(np.zeros((num_replicas, sum(params_by_layer(layer_sizes, bias=bias))), dtype))

    @property
    def num_replicas(self) -> int:
        """Number of networks in the stack."""
        return len(self.params)

    def initialize(self, initializer: Initializer, rngs: Sequence[np.random.Generator]) -> None:
        """Draw the initial parameters of each replica from its own generator.

        Biases are drawn even where they are left out or start at zero, and in float64, so that every setting sees the
        same unit draws.
        """
        fans = zip(self.layer_sizes[:-1], self.layer_sizes[1:], (*self.activations, Identity()), strict=True)
        scales = [initializer.std(fan_in, fan_out, activation) for fan_in, fan_out, activation in fans]
        for replica, rng in enumerate(rngs):
            for layer, scale in enumerate(scales):
                fan_in, fan_out = self.layer_sizes[layer : layer + 2]
                self.weights[layer][replica] = scale * rng.standard_normal((fan_in, fan_out))
                unit_biases = rng.standard_normal((1, fan_out))
                if self.bias:
                    self.biases[layer][replica] = initializer.bias_std * unit_biases

    def forward(self, inputs: NDArray) -> NDArray:
        """Return the logits, (replicas, batch, outputs), and keep what `backward` needs.

        `inputs` is (replicas, batch, inputs), or (batch, inputs) where all replicas see the same samples. The result is
        a buffer that the next call with the same batch size overwrites.
        """
        buffers = self._buffers(inputs.shape[-2])
        self.layer_inputs = [inputs, *buffers["values"]]
        self.slopes = buffers["slopes"]
        self.deltas = buffers["deltas"]
        self.ones = buffers["ones"]
        for layer, activation in enumerate(self.activations):
            z = self._affine(layer, self.layer_inputs[layer], out=self.deltas[layer])
            activation(z, self.layer_inputs[layer + 1], self.slopes[layer])
        return self._affine(-1, self.layer_inputs[-1], out=buffers["logits"])

    def backward(self, delta: NDArray) -> None:
        """Fill `grads` from `delta` = d loss / d logits, (replicas, batch, outputs), after `forward`."""
        for layer in reversed(range(len(self.weights))):
            np.matmul(self.layer_inputs[layer].swapaxes(-1, -2), delta, out=self.weight_grads[layer])
            if self.bias:  # a sum over the samples; as a product it takes a quarter of the time of np.sum
                np.matmul(self.ones, delta, out=self.bias_grads[layer])
            if layer > 0:
                delta = np.matmul(delta, self.weights[layer].swapaxes(-1, -2), out=self.deltas[layer - 1])
                delta *= self.slopes[layer - 1]

    def add_weight_decay(self, weight_decay: float) -> None:
        """Add the gradient of the L2 penalty, weight_decay / 2 times the squared weights (not biases), to `grads`."""
        for weights, weight_grads, scratch in zip(
            self.weights, self.weight_grads, self._penalty_scratch(), strict=True
        ):
            np.multiply(weights, weight_decay, out=scratch)
            weight_grads += scratch

    def penalty(self, weight_decay: float) -> NDArray:
        """Return weight_decay / 2 times the squared weights (not biases) of each replica, (replicas,)."""
        squares = [np.square(weights, dtype=np.float64).sum(axis=(-2, -1)) for weights in self.weights]
        return weight_decay / 2 * np.sum(squares, axis=0)

    def logits(self, inputs: NDArray) -> NDArray:
        """Return the logits for `inputs`, (samples, inputs), as a new array (replicas, samples, outputs)."""
        logits = _empty_logits(self.num_replicas, len(inputs), self.layer_sizes[-1], self.params.dtype)
        for block in blocks(len(inputs)):
            logits[:, block] = self.forward(inputs[block])
        return logits

    def predict(self, inputs: NDArray) -> NDArray:
        """Return predicted labels: (replicas,) for one sample, (inputs,); (replicas, samples) for (samples, inputs)."""
        samples, single = self._as_samples(inputs)
        labels = self.loss.predict(self.logits(samples))
        return labels[:, 0] if single else labels

    def probabilities(self, inputs: NDArray) -> NDArray:
        """Return class probabilities: (replicas, classes) for one sample, (replicas, samples, classes) for many."""
        samples, single = self._as_samples(inputs)
        probabilities = self.loss.probabilities(self.logits(samples))
        return probabilities[:, 0] if single else probabilities

    def with_params(self, params: NDArray) -> "MLP":
        """Return another stack of the same architecture that holds `params`, (replicas, num_params)."""
        model = MLP(self.layer_sizes, activations=self.activations, loss=self.loss, bias=self.bias, dtype=params.dtype)
        model._hold(params)
        return model

    def take(self, replicas: NDArray | Sequence[int]) -> None:
        """Go on with the given replicas alone."""
        self._hold(self.params[np.asarray(replicas)])

    def save(self, path: Path | str) -> None:
        """Write architecture and parameters to one .npz file: arrays and JSON, no code."""
        with Path(path).open("wb") as file:
            np.savez(file, architecture=np.array(json.dumps(self.architecture())), params=self.params)

    @classmethod
    def load(cls, path: Path | str, *, extra: Mapping[str, type] | None = None) -> "MLP":
        """Read what `save` wrote. `extra` maps names to the user's own activation and loss classes."""
        with np.load(path, allow_pickle=False) as file:
            return cls.from_architecture(json.loads(str(file["architecture"])), file["params"], extra=extra)

    def architecture(self) -> dict[str, Any]:
        """Return everything but the parameters, as JSON can hold it."""
        return {
            "format": FORMAT,
            "layer_sizes": list(self.layer_sizes),
            "activations": [_describe(activation) for activation in self.activations],
            "loss": _describe(self.loss),
            "bias": self.bias,
            "dtype": self.params.dtype.name,
        }

    @classmethod
    def from_architecture(
        cls, architecture: Mapping[str, Any], params: NDArray, *, extra: Mapping[str, type] | None = None
    ) -> "MLP":
        """Build the model that `architecture` described, with `params` (replicas, num_params)."""
        if architecture.get("format") != FORMAT:
            raise ValueError(f"the model's format is {architecture.get('format')!r}; this version reads {FORMAT!r}")
        model = cls(
            architecture["layer_sizes"],
            activations=[_build(entry, activations_module, extra) for entry in architecture["activations"]],
            loss=_build(architecture["loss"], losses_module, extra),
            num_replicas=len(params),
            bias=architecture["bias"],
            dtype=architecture["dtype"],
        )
        if params.shape != model.params.shape or params.dtype != model.params.dtype:
            raise ValueError(
                f"the parameters are {params.shape} {params.dtype}; "
                f"the architecture needs {model.params.shape} {model.params.dtype}"
            )
        np.copyto(model.params, params)
        return model

    def _hold(self, params: NDArray) -> None:
        """Take `params` as the parameters and lay out the views and buffers that belong to them."""
        self.params = params
        self.grads = np.zeros_like(params)
        self.weights, self.biases = self._views(self.params)
        self.weight_grads, self.bias_grads = self._views(self.grads)
        ends = np.cumsum([0, *params_by_layer(self.layer_sizes, bias=self.bias)]).tolist()
        self.layer_slices = [slice(start, end) for start, end in pairwise(ends)]  # of each layer, on the last axis
        self._buffers_by_batch: dict[int, dict[str, Any]] = {}
        self._decay: list[NDArray] = []

    def _views(self, flat: NDArray) -> tuple[list[NDArray], list[NDArray]]:
        """Return each layer's weights, (replicas, fan_in, fan_out), and biases, (replicas, 1, fan_out), as views."""
        weights, biases = [], []
        start = 0
        for fan_in, fan_out in zip(self.layer_sizes, self.layer_sizes[1:], strict=False):
            stop = start + fan_in * fan_out
            weights.append(flat[:, start:stop].reshape(-1, fan_in, fan_out))
            start = stop
            if self.bias:
                stop = start + fan_out
                biases.append(flat[:, start:stop].reshape(-1, 1, fan_out))
                start = stop
        return weights, biases

    def _buffers(self, batch: int) -> dict[str, Any]:
        """Return the arrays that hold one batch on its way through the network, (replicas, batch, units)."""
        if batch not in self._buffers_by_batch:
            if len(self._buffers_by_batch) >= MOST_BATCH_SIZES:
                self._buffers_by_batch.clear()
            shapes = [(self.num_replicas, batch, units) for units in self.layer_sizes[1:-1]]
            dtype = self.params.dtype
            self._buffers_by_batch[batch] = {
                "values": [np.empty(shape, dtype) for shape in shapes],
                "slopes": [np.empty(shape, dtype) for shape in shapes],
                "deltas": [np.empty(shape, dtype) for shape in shapes],
                "logits": _empty_logits(self.num_replicas, batch, self.layer_sizes[-1], dtype),
                "ones": np.ones((1, batch), dtype),
            }
        return self._buffers_by_batch[batch]

    def _penalty_scratch(self) -> list[NDArray]:
        if not self._decay:
            self._decay = [np.empty_like(weights) for weights in self.weights]
        return self._decay

    def _affine(self, layer: int, inputs: NDArray, out: NDArray) -> NDArray:
        """Return inputs @ weights + biases, (replicas, batch, fan_out)."""
        z = np.matmul(inputs, self.weights[layer], out=out)
        if self.bias:
            z += self.biases[layer]
        return z

    def _as_samples(self, inputs: NDArray) -> tuple[NDArray, bool]:
        """Return inputs as (samples, inputs) of the model's dtype, and whether a single sample was given."""
        inputs = np.asarray(inputs, dtype=self.params.dtype)
        if inputs.shape[-1:] != self.layer_sizes[:1] or inputs.ndim > 2:
            raise ValueError(
                f"the inputs have shape {inputs.shape}; "
                f"the model takes ({self.layer_sizes[0]},) or (samples, {self.layer_sizes[0]})"
            )
        return np.atleast_2d(inputs), inputs.ndim == 1


def blocks(num_samples: int) -> Iterator[slice]:
    """Yield the parts of a split that are evaluated at a time, nearly equal, so that the last is no small remainder."""
    num_blocks = max(1, -(-num_samples // EVALUATION_BLOCK))
    size = max(1, -(-num_samples // num_blocks))
    for start in range(0, num_samples, size):
        yield slice(start, min(start + size, num_samples))


def params_by_layer(layer_sizes: Sequence[int], *, bias: bool) -> list[int]:
    """Return how many parameters each layer of one network has."""
    return [(fan_in + bias) * fan_out for fan_in, fan_out in pairwise(layer_sizes)]


def _empty_logits(num_replicas: int, batch: int, num_outputs: int, dtype: DTypeLike) -> NDArray:
    """Return an array (replicas, batch, outputs) whose memory has the samples of one output side by side.

    There are few outputs and many samples, so that a maximum or a sum over the outputs runs along the samples.
    """
    return np.empty((num_replicas, num_outputs, batch), dtype).swapaxes(-1, -2)


def _describe(part: Any) -> dict[str, Any]:
    return {"name": type(part).__name__, **asdict(part)}


def _build(entry: Mapping[str, Any], module: Any, extra: Mapping[str, type] | None) -> Any:
    """Build an activation or a loss by the name of its class, nnbench's own or of `extra`; nothing is imported."""
    options = dict(entry)
    name = options.pop("name")
    known = {kind.__name__: kind for kind in vars(module).values() if is_dataclass(kind) and isinstance(kind, type)}
    known |= extra or {}
    if name not in known:
        raise ValueError(f"the model uses {name!r}, which nnbench does not have; pass extra={{{name!r}: its class}}")
    return known[name](**options)
