"""The plain loop that every from-scratch project begins with: one network, float64, a new array for each result."""

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from contenders.problem import BETA1, BETA2, EPSILON, LEARNING_RATE, Problem


class Naive:
    """Dictionaries of arrays, formulas as in the textbook, Adam layer by layer."""

    num_replicas = 1

    def __init__(self, problem: Problem):
        self.problem = problem
        self.inputs = problem.inputs.astype(np.float64)
        self.one_hot = np.eye(problem.layer_sizes[-1])[problem.labels]
        model = problem.new_model(1)
        self.num_layers = len(model.weights)
        self.params = {}
        for layer in range(self.num_layers):
            self.params[f"W{layer}"] = model.weights[layer][0].astype(np.float64)
            self.params[f"b{layer}"] = model.biases[layer][0].astype(np.float64)
        self.mean = {name: np.zeros(values.shape) for name, values in self.params.items()}
        self.mean_square = {name: np.zeros(values.shape) for name, values in self.params.items()}
        self.num_steps = 0
        self.rngs = problem.order_rngs(1)

    def train_epoch(self) -> float:
        """Take every step of an epoch; return the seconds of it."""
        started = perf_counter()
        for batch in self.problem.draw_batches(self.rngs)[0]:
            values = self.forward(self.inputs[batch])
            grads = self.backward(values, self.one_hot[batch])
            self.adam(grads)
        return perf_counter() - started

    def loss(self) -> float:
        """Return the training loss."""
        return float(-np.mean(np.log(np.sum(self.forward(self.inputs)[-1] * self.one_hot, axis=1))))

    def forward(self, inputs: NDArray) -> list[NDArray]:
        """Return the inputs, the values of each hidden layer and the probabilities, (batch, units)."""
        values = [inputs]
        for layer in range(self.num_layers):
            z = values[-1] @ self.params[f"W{layer}"] + self.params[f"b{layer}"]
            if layer < self.num_layers - 1:
                values.append(np.maximum(z, 0))
            else:
                exponentials = np.exp(z - np.max(z, axis=1, keepdims=True))
                values.append(exponentials / np.sum(exponentials, axis=1, keepdims=True))
        return values

    def backward(self, values: list[NDArray], one_hot: NDArray) -> dict[str, NDArray]:
        """Return the gradient of each parameter array."""
        grads = {}
        delta = (values[-1] - one_hot) / len(one_hot)
        for layer in reversed(range(self.num_layers)):
            grads[f"W{layer}"] = values[layer].T @ delta
            grads[f"b{layer}"] = np.sum(delta, axis=0, keepdims=True)
            if layer > 0:
                delta = (delta @ self.params[f"W{layer}"].T) * (values[layer] > 0)
        return grads

    def adam(self, grads: dict[str, NDArray]) -> None:
        """Take a step: Kingma & Ba, 2015, Algorithm 1, line by line."""
        self.num_steps += 1
        for name, grad in grads.items():
            self.mean[name] = BETA1 * self.mean[name] + (1 - BETA1) * grad
            self.mean_square[name] = BETA2 * self.mean_square[name] + (1 - BETA2) * grad**2
            mean_hat = self.mean[name] / (1 - BETA1**self.num_steps)
            mean_square_hat = self.mean_square[name] / (1 - BETA2**self.num_steps)
            self.params[name] = self.params[name] - LEARNING_RATE * mean_hat / (np.sqrt(mean_square_hat) + EPSILON)
