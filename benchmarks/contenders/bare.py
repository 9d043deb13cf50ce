"""The limit: the matrix products of a training and nothing else."""

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from contenders.problem import Problem

REPEATS = 10  # as many as the stack has trainings, or its turn would be too short to meet what slows the others


class Bare:
    """For each batch, every product of one network's forward and backward pass, into arrays that are there already.

    Batches are slices of the data, nothing is gathered; parameters stay as they are, so nothing is learnt.
    """

    num_replicas = 1

    def __init__(self, problem: Problem):
        self.problem = problem
        self.weights = [weights[0] for weights in problem.new_model(1).weights]  # (fan_in, fan_out)
        self.weight_grads = [np.empty_like(weights) for weights in self.weights]
        self.values = [np.empty((problem.batch_size, units), np.float32) for units in problem.layer_sizes[1:]]
        self.deltas = [np.empty_like(value) for value in self.values]
        self.deltas[-1][:] = np.random.default_rng(0).standard_normal(self.deltas[-1].shape) / problem.batch_size

    def train_epoch(self) -> float:
        """Compute the products of every step of an epoch; return the seconds of it, the mean of several epochs."""
        started = perf_counter()
        for _ in range(REPEATS):
            for start in range(0, len(self.problem.inputs), self.problem.batch_size):
                self.products(self.problem.inputs[start : start + self.problem.batch_size])
        return (perf_counter() - started) / REPEATS

    def products(self, inputs: NDArray) -> None:
        """Compute those of one step."""
        layer_inputs = [inputs, *self.values]
        for layer, weights in enumerate(self.weights):
            np.matmul(layer_inputs[layer], weights, out=self.values[layer])
        for layer in reversed(range(len(self.weights))):
            np.matmul(layer_inputs[layer].T, self.deltas[layer], out=self.weight_grads[layer])
            if layer > 0:
                np.matmul(self.deltas[layer], self.weights[layer].T, out=self.deltas[layer - 1])

    def loss(self) -> None:
        """Nothing is learnt."""
        return
