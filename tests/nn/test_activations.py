"""Each activation beside its derivative, at ordinary and at extreme inputs."""

import math

import numpy as np
import pytest
from nn_cases import ACTIVATIONS

from nnbench import nn
from nnbench.nn.activations import sigmoid

BY_ACTIVATION = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
BY_DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])

NAIVE = {
    nn.Sigmoid: lambda z, _: 1 / (1 + np.exp(-z)),
    nn.Tanh: lambda z, _: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    nn.ReLU: lambda z, _: np.where(z > 0, z, 0),
    nn.LeakyReLU: lambda z, activation: np.where(z > 0, z, activation.negative_slope * z),
    nn.Identity: lambda z, _: z,
}


def applied(activation, z):
    """Return value and slope, from buffers that held something else before."""
    value, slope = np.full_like(z, np.nan), np.full_like(z, np.nan)
    activation(z, value, slope)
    return value, slope


def extreme(dtype):
    largest = {np.float32: 3e38, np.float64: 1e308}[dtype]
    smallest = np.finfo(dtype).smallest_subnormal
    sizes = np.array([smallest, 1, 50, 90, 100, 710, 750, 1e4, largest], dtype)
    return np.concatenate([-sizes[::-1], [0], sizes], dtype=dtype)


@BY_ACTIVATION
def test_slope_is_the_derivative(activation):
    z = np.random.default_rng(0).uniform(0.01, 6, (3, 4, 5)) * np.random.default_rng(1).choice([-1, 1], (3, 4, 5))
    step = 1e-6
    numeric = (applied(activation, z + step)[0] - applied(activation, z - step)[0]) / (2 * step)
    np.testing.assert_allclose(applied(activation, z)[1], numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS.values() if type(a) in NAIVE], ids=repr)
def test_value_is_that_of_the_formula(activation):
    z = np.random.default_rng(0).uniform(-20, 20, (2, 3, 101))
    wanted = NAIVE[type(activation)](z.astype(np.longdouble), activation)
    np.testing.assert_allclose(applied(activation, z)[0], wanted.astype(np.float64), rtol=1e-13, atol=0)
    narrow = z.astype(np.float32)
    wanted = NAIVE[type(activation)](narrow.astype(np.float64), activation)
    np.testing.assert_allclose(applied(activation, narrow)[0], wanted, rtol=1e-6, atol=0)


@BY_DTYPE
@BY_ACTIVATION
def test_any_finite_input_gives_a_finite_value_and_slope(activation, dtype):
    value, slope = applied(activation, extreme(dtype))
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()


@BY_DTYPE
@BY_ACTIVATION
def test_value_of_an_element_does_not_depend_on_its_neighbours(activation, dtype):
    z = np.random.default_rng(0).normal(scale=5, size=67).astype(dtype)
    among_wild_ones = np.stack([z, np.full_like(z, np.inf), np.full_like(z, 1e30), np.full_like(z, np.nan)], axis=-1)
    with np.errstate(all="ignore"):
        value, slope = applied(activation, among_wild_ones)
    alone = np.array([applied(activation, z[[place]]) for place in range(len(z))])
    np.testing.assert_array_equal(value[:, 0], alone[:, 0, 0])
    np.testing.assert_array_equal(slope[:, 0], alone[:, 1, 0])


@BY_DTYPE
@pytest.mark.parametrize("negative_slope", [0.0, 0.01, 0.1, 0.3, 0.7, 0.999])
def test_leaky_relu_leaves_positive_inputs_as_they_are(negative_slope, dtype):
    z = np.random.default_rng(0).uniform(0, 10, 1000).astype(dtype)
    value, slope = applied(nn.LeakyReLU(negative_slope=negative_slope), z)
    np.testing.assert_array_equal(value, z)
    np.testing.assert_array_equal(slope, 1)


def test_leaky_relu_without_a_slope_is_relu():
    z = np.random.default_rng(0).standard_normal(100)
    np.testing.assert_array_equal(applied(nn.LeakyReLU(negative_slope=0.0), z), applied(nn.ReLU(), z))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(negative_slope=0.2)], ids=repr)
def test_gain_of_a_rectifier_keeps_the_mean_square_of_a_normal_signal(activation):
    z = np.random.default_rng(0).standard_normal(400_000)
    value, _ = applied(activation, activation.gain * z)
    assert np.mean(value**2) == pytest.approx(1, abs=0.01)


def test_gain_of_leaky_relu_follows_its_slope():
    assert nn.ReLU().gain == math.sqrt(2)
    assert nn.LeakyReLU(negative_slope=0.5).gain == pytest.approx(math.sqrt(1.6))


@pytest.mark.parametrize("negative_slope", [1.5, 1.0, -0.1, math.nan, math.inf])
def test_negative_slope_out_of_range_is_refused(negative_slope):
    with pytest.raises(ValueError, match=rf"negative_slope is {negative_slope}; it must be at least 0 and below 1"):
        nn.LeakyReLU(negative_slope=negative_slope)


# What the origins got wrong: a sigmoid that overflows.


def sigmoid_that_warns_of_overflow(z):
    return 1 / (1 + np.exp(-z))


def sigmoid_that_overflows(z):
    with np.errstate(all="ignore"):
        return np.exp(z) / (1 + np.exp(z))


def check_sigmoid_far_out(function):
    np.testing.assert_allclose(function(np.array([-1e4, -800.0, 0, 800, 1e4])), [0, 0, 0.5, 1, 1], atol=1e-300)


def test_sigmoid_does_not_overflow():
    check_sigmoid_far_out(sigmoid)


@pytest.mark.parametrize("mistaken", [sigmoid_that_warns_of_overflow, sigmoid_that_overflows])
def test_far_logits_reveal_a_sigmoid_that_overflows(mistaken):
    with pytest.raises((AssertionError, RuntimeWarning)):
        check_sigmoid_far_out(mistaken)
