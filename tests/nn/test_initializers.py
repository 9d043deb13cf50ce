"""Initial weights: how large, and that every setting scales the same unit draws of a seed."""

import math

import numpy as np
import pytest
from nn_cases import ACTIVATIONS, INITIALIZERS, SOFTMAX_CROSS_ENTROPY

from nnbench import nn

SIZES = (6, 4, 4, 3)
BY_INITIALIZER = pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
BY_ACTIVATION = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)


def initialized(initializer, seeds, *, activation=ACTIVATIONS["relu"], sizes=SIZES, kind=nn.MLP, **options):
    model = kind(
        sizes,
        activations=[activation] * (len(sizes) - 2),
        loss=SOFTMAX_CROSS_ENTROPY,
        num_replicas=len(seeds),
        **options,
    )
    model.initialize(initializer, [nn.spawn_rngs(seed)[0] for seed in seeds])
    return model


@BY_INITIALIZER
@BY_ACTIVATION
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_setting_scales_the_same_unit_draws_of_a_seed(initializer, activation, dtype):
    unit = initialized(nn.Normal(weight_std=1.0, bias_std=1.0), [3], dtype=np.float64)
    model = initialized(initializer, [3], activation=activation, dtype=dtype)
    for layer, weights in enumerate(model.weights):
        std = initializer.std(*SIZES[layer : layer + 2], nn.Identity() if layer == 2 else activation)
        np.testing.assert_array_equal(weights, (std * unit.weights[layer]).astype(dtype))
        np.testing.assert_array_equal(model.biases[layer], (initializer.bias_std * unit.biases[layer]).astype(dtype))


@BY_INITIALIZER
def test_weights_are_the_same_with_and_without_biases(initializer):
    with_biases, without = initialized(initializer, [3]), initialized(initializer, [3], bias=False)
    for weights, wanted in zip(without.weights, with_biases.weights, strict=True):
        np.testing.assert_array_equal(weights, wanted)


@BY_INITIALIZER
def test_initial_weights_have_the_standard_deviation_that_was_asked_for(initializer):
    sizes = (200, 300, 100)
    model = initialized(initializer, [0], sizes=sizes)
    for layer, activation in enumerate((ACTIVATIONS["relu"], nn.Identity())):
        std = initializer.std(*sizes[layer : layer + 2], activation)
        assert model.weights[layer].std() == pytest.approx(std, rel=0.02)
        assert model.weights[layer].mean() == pytest.approx(0, abs=std / 30)


@BY_INITIALIZER
def test_replica_draws_from_its_own_seed_alone(initializer):
    stack = initialized(initializer, range(10))
    np.testing.assert_array_equal(stack.params[[7]], initialized(initializer, [7]).params)
    assert len(np.unique(stack.weights[0][:, 0, 0])) == 10


@BY_INITIALIZER
def test_biases_start_at_zero_unless_asked(initializer):
    assert all((biases == 0).all() for biases in initialized(initializer, [0]).biases)


def test_standard_deviations_worked_by_hand():
    relu, leaky, tanh, linear = nn.ReLU(), nn.LeakyReLU(negative_slope=0.5), nn.Tanh(), nn.Identity()
    assert nn.He().std(8, 2, relu) == pytest.approx(0.5)
    assert nn.He().std(10, 2, leaky) == pytest.approx(0.4)  # sqrt(2 / 1.25 / 10)
    assert nn.Glorot().std(30, 20, relu) == pytest.approx(0.2)
    assert nn.LeCun().std(25, 4, relu) == pytest.approx(0.2)
    assert nn.FanOut().std(25, 4, relu) == pytest.approx(0.5)
    assert nn.Normal(weight_std=0.3).std(25, 4, relu) == 0.3
    assert nn.Auto().std(8, 2, relu) == nn.He().std(8, 2, relu)
    assert nn.Auto().std(8, 2, leaky) == nn.He().std(8, 2, leaky)
    assert nn.Auto().std(8, 2, tanh) == nn.Glorot().std(8, 2, tanh)
    assert nn.Auto().std(8, 2, linear) == nn.LeCun().std(8, 2, linear)


def test_he_keeps_the_size_of_the_signal_through_twenty_rectifier_layers():
    sizes = (200,) * 22
    inputs = np.random.default_rng(1).standard_normal((100, 200)).astype(np.float32)
    model = initialized(nn.He(), range(3), sizes=sizes)
    model.forward(inputs)
    assert np.sqrt(np.mean(model.layer_inputs[-1] ** 2)) == pytest.approx(1, rel=0.5)
    model = initialized(nn.LeCun(), range(3), sizes=sizes)
    model.forward(inputs)
    assert np.sqrt(np.mean(model.layer_inputs[-1] ** 2)) < 0.01


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_standard_deviation_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=f"bias_std is {value}; it must be a finite number of at least 0"):
        nn.He(bias_std=value)
    with pytest.raises(ValueError, match=f"weight_std is {value}; it must be a finite number of at least 0"):
        nn.Normal(weight_std=value)


# What the origins got wrong: every layer from the same seed.


class EveryLayerSeededAlike(nn.MLP):
    def initialize(self, initializer, rngs):
        for weights in self.weights:
            weights[:] = np.random.default_rng(42).standard_normal(weights.shape)


def check_equal_layers_have_different_weights(kind):
    model = initialized(nn.Normal(), [0], sizes=(4, 4, 4, 4), kind=kind)
    first, second, third = (weights.ravel() for weights in model.weights)
    assert not set(first) & set(second)
    assert not set(second) & set(third)


def test_layers_of_equal_size_have_different_weights():
    check_equal_layers_have_different_weights(nn.MLP)


def test_layers_seeded_alike_are_revealed():
    with pytest.raises(AssertionError):
        check_equal_layers_have_different_weights(EveryLayerSeededAlike)
