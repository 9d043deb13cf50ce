"""PyTorch: the usual loop, the same with its fused Adam, and a stack by `torch.func.vmap`."""

from time import perf_counter

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from contenders.problem import BETA1, BETA2, EPSILON, LEARNING_RATE, Problem

torch.set_num_threads(1)


def new_network(problem: Problem) -> nn.Sequential:
    """Return linear layers with a ReLU after each but the last."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(problem.layer_sizes, problem.layer_sizes[1:], strict=False):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def initial_parameters(problem: Problem, num_replicas: int) -> dict[str, torch.Tensor]:
    """Return nnbench's initial parameters by PyTorch's names, weights (replicas, fan_out, fan_in)."""
    model = problem.new_model(num_replicas)
    parameters = {}
    for layer, (weights, biases) in enumerate(zip(model.weights, model.biases, strict=True)):
        parameters[f"{2 * layer}.weight"] = torch.from_numpy(np.swapaxes(weights, -1, -2).copy())
        parameters[f"{2 * layer}.bias"] = torch.from_numpy(biases[:, 0].copy())
    return parameters


def new_adam(parameters: list[torch.Tensor], *, fused: bool | None) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=LEARNING_RATE, betas=(BETA1, BETA2), eps=EPSILON, fused=fused)


class Loop:
    """One network: forward, backward, step."""

    num_replicas = 1

    def __init__(self, problem: Problem, *, fused: bool | None = None):
        self.problem = problem
        self.inputs, self.labels = torch.from_numpy(problem.inputs), torch.from_numpy(problem.labels)
        self.network = new_network(problem)
        self.network.load_state_dict({name: values[0] for name, values in initial_parameters(problem, 1).items()})
        self.optimizer = new_adam(list(self.network.parameters()), fused=fused)
        self.rngs = problem.order_rngs(1)

    def train_epoch(self) -> float:
        """Take every step of an epoch; return the seconds of it."""
        started = perf_counter()
        for batch in torch.from_numpy(self.problem.draw_batches(self.rngs)[0]):
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.network(self.inputs[batch]), self.labels[batch])
            loss.backward()
            self.optimizer.step()
        return perf_counter() - started

    def loss(self) -> float:
        """Return the training loss."""
        with torch.no_grad():
            return self.problem.loss_of(self.network(self.inputs).numpy())


class Vmap:
    """A stack: gradients by vmap over the replicas; Adam, which is elementwise, steps the stacked arrays, fused."""

    def __init__(self, problem: Problem, *, num_replicas: int):
        self.num_replicas = num_replicas
        self.problem = problem
        self.inputs, self.labels = torch.from_numpy(problem.inputs), torch.from_numpy(problem.labels)
        self.network = new_network(problem)
        self.parameters = initial_parameters(problem, num_replicas)
        self.optimizer = new_adam(list(self.parameters.values()), fused=True)
        self.gradients = vmap(grad(self._loss_of_one))
        self.rngs = problem.order_rngs(num_replicas)

    def train_epoch(self) -> float:
        """Take every step of an epoch; return the seconds of it."""
        started = perf_counter()
        batches = torch.from_numpy(self.problem.draw_batches(self.rngs))
        for step in range(self.problem.num_steps):
            batch = batches[:, step]
            gradients = self.gradients(self.parameters, self.inputs[batch], self.labels[batch])
            for name, values in self.parameters.items():
                values.grad = gradients[name]
            self.optimizer.step()
        return perf_counter() - started

    def loss(self) -> float:
        """Return the training loss of the first replica."""
        first = {name: values[0] for name, values in self.parameters.items()}
        with torch.no_grad():
            return self.problem.loss_of(functional_call(self.network, first, (self.inputs,)).numpy())

    def _loss_of_one(
        self, parameters: dict[str, torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(self.network, parameters, (inputs,)), labels)
