"""Generated data sets: what they claim to be, and what their keys do."""

import numpy as np
import pytest

from nnbench.data import XOR, Circles, Moons, Spirals

GENERATED = [XOR, Moons, Circles, Spirals]


def test_xor_is_the_exclusive_or_of_its_bits():
    samples = XOR().read()

    assert samples.inputs.shape == (3000, 2)
    np.testing.assert_array_equal(samples.labels, np.logical_xor(*samples.inputs.T))
    assert len(np.unique(samples.inputs, axis=0)) == 4
    np.testing.assert_allclose(samples.inputs.mean(axis=0), 0.5, atol=0.05)


def test_xor_noise_moves_the_inputs_and_not_the_labels():
    plain, noisy = XOR().read(), XOR(noise=0.1).read()

    np.testing.assert_array_equal(plain.labels, noisy.labels)
    assert np.std(noisy.inputs - plain.inputs) == pytest.approx(0.1, rel=0.05)


def test_circles_have_their_radii():
    samples = Circles(noise=0, factor=0.3).read()

    radii = np.hypot(*samples.inputs.T)
    np.testing.assert_allclose(radii[samples.labels == 0], 1, atol=1e-5)
    np.testing.assert_allclose(radii[samples.labels == 1], 0.3, atol=1e-5)


def test_spiral_arms_are_rotations_of_one_curve():
    samples = Spirals(num_points=900, num_arms=3, turns=2, noise=0).read()

    radius = np.hypot(*samples.inputs.T)
    angle = np.arctan2(samples.inputs[:, 1], samples.inputs[:, 0])
    turned_back = angle - 2 * np.pi * (2 * radius + samples.labels / 3)
    visible = radius > 0.01  # at the centre the rounded coordinates have no angle
    np.testing.assert_allclose(np.cos(turned_back[visible]), 1, atol=1e-5)
    assert np.bincount(samples.labels).tolist() == [300, 300, 300]


@pytest.mark.parametrize("source", GENERATED)
def test_data_seed_alone_decides_the_points(source):
    first = source(noise=0.1).load()

    assert source(noise=0.1, split_seed=9).load().digest == first.digest
    assert source(noise=0.1, data_seed=1).load().digest != first.digest


@pytest.mark.parametrize("source", GENERATED)
def test_classes_are_balanced(source):
    dataset = source().load()

    assert np.ptp(np.bincount(dataset.train.labels)) <= 0.05 * len(dataset.train)


@pytest.mark.parametrize(
    ("source", "fields", "message"),
    [
        (XOR, {"num_pairs": 0}, "num_pairs is 0; it must be at least 1"),
        (XOR, {"noise": -1.0}, "noise is -1.0; it must be at least 0"),
        (XOR, {"data_seed": -1}, "data_seed is -1; it must be at least 0"),
        (XOR, {"validation_fraction": 2.0}, "validation_fraction is 2.0"),
        (Moons, {"num_points": 0}, "num_points is 0; it must be at least 1"),
        (Moons, {"noise": float("nan")}, "noise is nan; it must be at least 0"),
        (Circles, {"factor": 1.0}, "factor is 1.0; it must be between 0 and 1"),
        (Spirals, {"num_arms": 1}, "num_arms is 1; it must be at least 2"),
        (Spirals, {"turns": 0.0}, "turns is 0.0; it must be above 0"),
    ],
)
def test_setting_out_of_range_is_a_value_error(source, fields, message):
    with pytest.raises(ValueError, match=message):
        source(**fields)
