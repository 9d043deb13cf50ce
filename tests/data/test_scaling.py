"""Scaling: fitted on the training split alone, and safe for constant and huge features."""

import numpy as np
import pytest

from nnbench.data import DataError, Digits

KINDS = ["none", "standard", "minmax", "global_minmax"]


def problem(num_features=3):
    rng = np.random.default_rng(0)
    return rng.normal(3, 2, size=(200, num_features)), np.arange(200) % 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_contiguous_and_of_the_dtype(arrays, kind, dtype):
    inputs, labels = problem()

    dataset = arrays(inputs=inputs, labels=labels, scaling=kind).load(dtype)

    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.inputs.dtype == dtype
        assert split.inputs.flags.c_contiguous
        assert split.labels.dtype == np.intp


def test_no_scaling_leaves_the_numbers_alone(arrays):
    inputs, labels = problem()

    dataset = arrays(inputs=inputs, labels=labels, test=(inputs, labels)).load(np.float64)

    np.testing.assert_array_equal(dataset.test.inputs, inputs)


def test_standard_gives_mean_0_and_deviation_1_in_training(arrays):
    inputs, labels = problem()

    train = arrays(inputs=inputs, labels=labels, scaling="standard").load(np.float64).train

    np.testing.assert_allclose(train.inputs.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(train.inputs.std(axis=0), 1)


@pytest.mark.parametrize("feature_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_minmax_gives_every_feature_the_range(arrays, feature_range):
    inputs, labels = problem()

    train = arrays(inputs=inputs, labels=labels, scaling="minmax", feature_range=feature_range).load(np.float64).train

    np.testing.assert_allclose(train.inputs.min(axis=0), feature_range[0])
    np.testing.assert_allclose(train.inputs.max(axis=0), feature_range[1])


def test_global_minmax_keeps_the_contrast_between_features(arrays):
    inputs, labels = problem()
    inputs[:, 0] /= 100

    train = arrays(inputs=inputs, labels=labels, scaling="global_minmax").load(np.float64).train

    assert (train.inputs.min(), train.inputs.max()) == (0, 1)
    assert np.ptp(train.inputs[:, 0]) < 0.02


def test_digits_scaled_together_are_sixteenths():
    train = Digits(scaling="global_minmax").load().train

    np.testing.assert_array_equal(train.inputs * 16, np.round(train.inputs * 16))
    assert (train.inputs.min(), train.inputs.max()) == (0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_is_fitted_on_the_training_split_alone(arrays, kind):
    inputs, labels = problem()
    plain = arrays(inputs=inputs, labels=labels, test=(inputs, labels), scaling=kind).load(np.float64)
    outlier = inputs.copy()
    outlier[0] = 1e6

    changed = arrays(inputs=inputs, labels=labels, test=(outlier, labels), scaling=kind).load(np.float64)

    np.testing.assert_array_equal(plain.train.inputs, changed.train.inputs)
    np.testing.assert_array_equal(plain.validation.inputs, changed.validation.inputs)
    np.testing.assert_array_equal(plain.test.inputs[1:], changed.test.inputs[1:])
    assert changed.test.inputs[0, 0] > 1e4  # not clipped into the training range


@pytest.mark.parametrize("kind", ["standard", "minmax"])
@pytest.mark.parametrize("constant", [0.0, 0.1, -7.0, 1e9])
def test_constant_feature_becomes_0_not_nan(arrays, kind, constant):
    inputs, labels = problem()
    inputs[:, 1] = constant
    test_inputs = inputs + 1  # even where the test split differs from the constant

    dataset = arrays(inputs=inputs, labels=labels, test=(test_inputs, labels), scaling=kind).load()

    for split in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(split.inputs[:, 1], 0)
        assert np.isfinite(split.inputs).all()


def test_large_offset_keeps_its_precision(arrays):
    inputs, labels = problem()
    plain = arrays(inputs=inputs, labels=labels, scaling="standard").load()

    # Seconds since 1970, say: float32 would leave nothing of the differences.
    shifted = arrays(inputs=inputs + 1e9, labels=labels, scaling="standard").load()

    np.testing.assert_allclose(shifted.train.inputs, plain.train.inputs, atol=1e-5)


@pytest.mark.parametrize(("kind", "value"), [("none", 1e300), ("standard", 1.7e308), ("minmax", 1.7e308)])
def test_numbers_too_large_for_the_dtype_are_refused(arrays, kind, value):
    inputs, labels = problem()
    inputs[:, 2] = np.where(np.arange(200) % 3, value, -value)

    with pytest.raises(DataError, match=f"'feature 2' holds numbers too large for float32 with scaling={kind}"):
        arrays(inputs=inputs, labels=labels, scaling=kind).load()


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-20, 1e20, 1e200, 1e300])
def test_features_of_any_size_are_standardised_alike(arrays, size):
    inputs, labels = problem()
    plain = arrays(inputs=inputs, labels=labels, scaling="standard").load()

    scaled = arrays(inputs=inputs * size, labels=labels, scaling="standard").load()

    np.testing.assert_allclose(scaled.train.inputs, plain.train.inputs, rtol=1e-5, atol=1e-6)


def test_bytes_are_scaled_as_numbers(arrays):
    inputs = np.random.default_rng(0).integers(256, size=(5000, 4), dtype=np.uint8)  # more rows than one block
    inputs[0], inputs[1] = 0, 255
    labels = np.arange(5000) % 2

    whole = arrays(inputs=inputs, labels=labels, test=(inputs, labels), scaling="global_minmax").load()

    np.testing.assert_array_equal(whole.test.inputs, (inputs / 255).astype(np.float32))
