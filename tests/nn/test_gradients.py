"""Backpropagation against finite differences, in float64, for every activation, loss, depth and penalty.

The objective is evaluated at all displaced parameters at once: they are the replicas of one stack.
"""

import numpy as np
import pytest
from nn_cases import ACTIVATIONS, LOSSES, LOSSES_AND_CLASSES

from nnbench import nn

STEP = 1e-4  # the fourth-order difference below errs by about STEP^4, rounding by about 1e-16 / STEP
FROM_KINKS = 1e-2  # of ReLU at zero; no displacement of one parameter by STEP crosses it
WEIGHT_DECAY = 0.3


def objective(model, inputs, labels, weight_decay):
    """Data loss and penalty of each replica, (replicas,)."""
    logits = model.forward(inputs)
    loss = model.loss(logits, labels, np.empty_like(logits))
    return loss + model.penalty(weight_decay)


def loss_alone(model, inputs, labels, weight_decay):
    logits = model.forward(inputs)
    return model.loss(logits, labels, np.empty_like(logits))


def backpropagate(model, inputs, labels, weight_decay):
    """Fill the gradients of the model as training does."""
    logits = model.forward(inputs)
    delta = np.empty_like(logits)
    model.loss(logits, labels, delta)
    model.backward(delta)
    if weight_decay:
        model.add_weight_decay(weight_decay)


def differences(model, inputs, labels, weight_decay, cost):
    """Return d cost / d parameters of a single replica by the central difference of fourth order, (num_params,)."""
    num_params = model.params.shape[-1]
    shifts = STEP * np.concatenate([k * np.eye(num_params) for k in (1, -1, 2, -2)])
    displaced = nn.MLP.from_architecture(model.architecture(), model.params + shifts)
    up, down, up_twice, down_twice = np.split(cost(displaced, inputs, labels, weight_decay), 4)
    return (8 * (up - down) - (up_twice - down_twice)) / (12 * STEP)


def assert_gradients_match(model, inputs, labels, weight_decay=0.0, cost=objective):
    """Compare weights and biases of each layer apart, so that a wrong small part does not hide behind a large one."""
    backpropagate(model, inputs, labels, weight_decay)
    numeric = model.__class__(
        model.layer_sizes, activations=model.activations, loss=model.loss, bias=model.bias, dtype=np.float64
    )
    numeric.params[:] = differences(model, inputs, labels, weight_decay, cost)
    actual, wanted = [*model.weight_grads, *model.bias_grads], [*numeric.weights, *numeric.biases]
    for grads, expected in zip(actual, wanted, strict=True):
        error = np.linalg.norm(grads - expected) / np.linalg.norm(expected)
        assert error < 1e-6


def drawn(activations, loss, num_classes, *, bias=True, kind=nn.MLP):
    """Draw a model with its inputs and labels so that no pre-activation lies near a kink."""
    layer_sizes = (3, *(4, 6, 5)[: len(activations)], loss.num_outputs(num_classes))
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        model = kind(layer_sizes, activations=activations, loss=loss, bias=bias, dtype=np.float64)
        model.initialize(nn.Normal(weight_std=0.8, bias_std=0.5), [rng])
        inputs = rng.standard_normal((4, 3))
        labels = np.arange(4) % num_classes
        logits = model.forward(inputs)
        # After `forward`, the buffers of the deltas still hold the pre-activations.
        if min(np.abs(z).min() for z in (*model.deltas, logits)) > FROM_KINKS:
            return model, inputs, labels
    raise RuntimeError("every draw is near a kink")


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no_biases"])
@pytest.mark.parametrize(("loss", "num_classes"), LOSSES_AND_CLASSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_is_that_of_the_objective(activation, loss, num_classes, bias):
    model, inputs, labels = drawn([ACTIVATIONS[activation]] * 2, LOSSES[loss], num_classes, bias=bias)
    assert_gradients_match(model, inputs, labels)
    assert_gradients_match(model, inputs, labels, WEIGHT_DECAY)


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no_biases"])
@pytest.mark.parametrize(("loss", "num_classes"), LOSSES_AND_CLASSES)
def test_gradient_of_a_linear_model_is_that_of_the_objective(loss, num_classes, bias):
    model, inputs, labels = drawn([], LOSSES[loss], num_classes, bias=bias)
    assert_gradients_match(model, inputs, labels)
    assert_gradients_match(model, inputs, labels, WEIGHT_DECAY)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_holds_where_each_layer_has_its_own_activation(activation):
    mixed = [ACTIVATIONS[activation], nn.Sigmoid(), nn.LeakyReLU(negative_slope=0.1)]
    model, inputs, labels = drawn(mixed, nn.SoftmaxCrossEntropy(), 3)
    assert_gradients_match(model, inputs, labels, WEIGHT_DECAY)


def test_gradient_of_each_replica_is_its_own():
    model, inputs, labels = drawn([nn.Tanh()], nn.SoftmaxCrossEntropy(), 3)
    stack = nn.MLP.from_architecture(model.architecture(), model.params * [[1.0], [0.5], [-2.0]])
    own_inputs = inputs * np.array([1.0, -1.0, 2.0]).reshape(3, 1, 1)
    own_labels = np.stack([labels, labels[::-1], (labels + 1) % 3])
    backpropagate(stack, own_inputs, own_labels, WEIGHT_DECAY)
    for replica in range(3):
        alone = nn.MLP.from_architecture(model.architecture(), stack.params[[replica]])
        wanted = differences(alone, own_inputs[replica], own_labels[replica], WEIGHT_DECAY, objective)
        np.testing.assert_allclose(stack.grads[replica], wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_in_float32_is_that_in_float64_rounded(loss):
    model, inputs, labels = drawn([nn.Sigmoid(), nn.ReLU()], LOSSES[loss], 3)
    narrow = nn.MLP(model.layer_sizes, activations=model.activations, loss=model.loss)
    narrow.params[:] = model.params
    backpropagate(model, inputs, labels, WEIGHT_DECAY)
    backpropagate(narrow, inputs.astype(np.float32), labels, WEIGHT_DECAY)
    assert narrow.grads.dtype == np.float32
    np.testing.assert_allclose(narrow.grads, model.grads, rtol=1e-4, atol=1e-6)


# What the origins got wrong; each must fail the very check that ours passes.


class BiasGradientSummedToOneScalar(nn.MLP):
    def backward(self, delta):
        super().backward(delta)
        for bias_grads in self.bias_grads:
            bias_grads[:] = bias_grads.sum(axis=-1, keepdims=True)


class HiddenDeltasWithoutTheDerivative(nn.MLP):
    def backward(self, delta):
        self.slopes = [np.ones_like(slope) for slope in self.slopes]
        super().backward(delta)


class BatchSumGradients(nn.MLP):
    def backward(self, delta):
        super().backward(delta * delta.shape[-2])


class DecayedBiases(nn.MLP):
    def add_weight_decay(self, weight_decay):
        self.grads += weight_decay * self.params


@pytest.mark.parametrize(
    "mistaken", [BiasGradientSummedToOneScalar, HiddenDeltasWithoutTheDerivative, BatchSumGradients, DecayedBiases]
)
def test_finite_differences_reveal_a_mistaken_network(mistaken):
    model, inputs, labels = drawn([nn.Sigmoid(), nn.Tanh()], nn.SoftmaxCrossEntropy(), 3)
    assert_gradients_match(model, inputs, labels, WEIGHT_DECAY)
    model, inputs, labels = drawn([nn.Sigmoid(), nn.Tanh()], nn.SoftmaxCrossEntropy(), 3, kind=mistaken)
    with pytest.raises(AssertionError):
        assert_gradients_match(model, inputs, labels, WEIGHT_DECAY)


def test_finite_differences_reveal_a_shown_cost_that_is_not_the_cost_trained():
    model, inputs, labels = drawn([nn.Sigmoid(), nn.Tanh()], nn.SoftmaxCrossEntropy(), 3)
    assert_gradients_match(model, inputs, labels, WEIGHT_DECAY, cost=objective)
    with pytest.raises(AssertionError):
        assert_gradients_match(model, inputs, labels, WEIGHT_DECAY, cost=loss_alone)


def gradient_of(kind, inputs, labels):
    model = kind((3, 4, 3), activations=[nn.Tanh()], loss=nn.SoftmaxCrossEntropy(), dtype=np.float64)
    model.initialize(nn.Glorot(), [np.random.default_rng(0)])
    backpropagate(model, inputs, labels, 0)
    return model.grads


def test_gradient_is_a_mean_so_that_a_batch_given_twice_changes_nothing():
    inputs, labels = np.random.default_rng(1).standard_normal((6, 3)), np.arange(6) % 3
    twice = np.concatenate([inputs, inputs]), np.concatenate([labels, labels])
    np.testing.assert_allclose(gradient_of(nn.MLP, *twice), gradient_of(nn.MLP, inputs, labels), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        gradient_of(BatchSumGradients, *twice),
        2 * gradient_of(BatchSumGradients, inputs, labels),
        rtol=1e-12,
        atol=1e-15,
    )
