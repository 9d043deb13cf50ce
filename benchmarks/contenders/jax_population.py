"""JAX: a population by vmap, its epoch one compiled scan over the batches."""

from functools import partial
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np

from contenders.problem import BETA1, BETA2, EPSILON, LEARNING_RATE, Problem


def logits_of(params, inputs):
    """Return the logits of one network, (batch, classes); `params` is [(weights, biases), ...]."""
    values = inputs
    for weights, biases in params[:-1]:
        values = jax.nn.relu(values @ weights + biases)
    weights, biases = params[-1]
    return values @ weights + biases


def loss_of(params, inputs, labels):
    """Return the mean cross-entropy of one network on a batch."""
    log_probabilities = jax.nn.log_softmax(logits_of(params, inputs))
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1).mean()


def step(inputs, labels, carry, batch):
    """Take one step of one network with Adam on the samples of `batch`, (batch,) indices."""
    params, mean, mean_square, num_steps = carry
    num_steps = num_steps + 1
    grads = jax.grad(loss_of)(params, inputs[batch], labels[batch])
    mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, grads)
    mean_square = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, mean_square, grads)
    root_correction = jnp.sqrt(1 - BETA2**num_steps)
    size = LEARNING_RATE * root_correction / (1 - BETA1**num_steps)
    params = jax.tree.map(
        lambda p, m, v: p - size * m / (jnp.sqrt(v) + EPSILON * root_correction), params, mean, mean_square
    )
    return (params, mean, mean_square, num_steps), None


@partial(jax.jit, donate_argnums=0)
@partial(jax.vmap, in_axes=(0, 0, None, None))
def epoch(carry, batches, inputs, labels):
    """Take every step of an epoch; batches are (replicas, steps, batch) indices."""
    return jax.lax.scan(partial(step, inputs, labels), carry, batches)[0]


class Population:
    """The first epoch compiles."""

    def __init__(self, problem: Problem, *, num_replicas: int):
        self.num_replicas = num_replicas
        self.problem = problem
        self.inputs, self.labels = jnp.asarray(problem.inputs), jnp.asarray(problem.labels, dtype=jnp.int32)
        model = problem.new_model(num_replicas)
        params = [
            (jnp.asarray(weights), jnp.asarray(biases[:, 0]))
            for weights, biases in zip(model.weights, model.biases, strict=True)
        ]
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.carry = (params, zeros(params), zeros(params), jnp.zeros(num_replicas))
        self.rngs = problem.order_rngs(num_replicas)

    def train_epoch(self) -> float:
        """Take every step of an epoch; return the seconds of it."""
        started = perf_counter()
        batches = self.problem.draw_batches(self.rngs).astype(np.int32)
        self.carry = jax.block_until_ready(epoch(self.carry, batches, self.inputs, self.labels))
        return perf_counter() - started

    def loss(self) -> float:
        """Return the training loss of the first replica."""
        first = jax.tree.map(lambda values: values[0], self.carry[0])
        return self.problem.loss_of(logits_of(first, self.inputs))
