"""What every contender trains: a network, its data and the order of the batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbench.nn import MLP, Auto, ReLU, SoftmaxCrossEntropy, spawn_rngs

LEARNING_RATE = 0.001
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's


@dataclass(frozen=True, eq=False)
class Problem:
    """A ReLU network with a softmax to train on genuine data, in full batches only."""

    layer_sizes: tuple[int, ...]
    batch_size: int
    inputs: NDArray  # (samples, features), float32; the number of samples is a multiple of the batch size
    labels: NDArray  # (samples,), integers

    @property
    def num_steps(self) -> int:
        """Steps of an epoch."""
        return len(self.labels) // self.batch_size

    def new_model(self, num_replicas: int) -> MLP:
        """Return nnbench's stack with the initial parameters of the seeds from 0 on."""
        model = MLP(
            self.layer_sizes,
            activations=[ReLU()] * (len(self.layer_sizes) - 2),
            loss=SoftmaxCrossEntropy(),
            num_replicas=num_replicas,
        )
        model.initialize(Auto(), [spawn_rngs(seed)[0] for seed in range(num_replicas)])
        return model

    def order_rngs(self, num_replicas: int) -> list[np.random.Generator]:
        """Return the generators that shuffle the samples, one for each replica."""
        return [spawn_rngs(seed)[1] for seed in range(num_replicas)]

    def draw_batches(self, rngs: Sequence[np.random.Generator]) -> NDArray:
        """Return the samples of every batch of an epoch, (replicas, steps, batch), indices."""
        order = np.stack([rng.permutation(len(self.labels)) for rng in rngs])
        return order.reshape(len(rngs), self.num_steps, self.batch_size)

    def loss_of(self, logits: NDArray) -> float:
        """Return the mean cross-entropy of the logits of all samples, (samples, classes)."""
        logits = np.asarray(logits, dtype=np.float64)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        own = shifted[np.arange(len(shifted)), self.labels]
        return float(np.mean(np.log(np.exp(shifted).sum(axis=-1)) - own))
