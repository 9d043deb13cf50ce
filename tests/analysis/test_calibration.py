"""Calibration as in Guo et al., 2017, worked by hand and by a second implementation."""

import numpy as np
import pandas as pd
import pytest

from nnbench.analysis.calibration import calibration_error, calibration_errors, reliability


def test_worked_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 0, 0])

    bins = reliability(probabilities, labels, num_bins=5)

    # (.4, .6]: .6 right, .55 wrong; (.6, .8]: .8 wrong, .7 right; (.8, 1]: .9 right.
    np.testing.assert_allclose(bins["bin_low"], [0, 0.2, 0.4, 0.6, 0.8])
    np.testing.assert_array_equal(bins["count"], [0, 0, 2, 2, 1])
    np.testing.assert_allclose(bins["confidence"], [np.nan, np.nan, 0.575, 0.75, 0.9])
    np.testing.assert_allclose(bins["accuracy"], [np.nan, np.nan, 0.5, 0.5, 1])
    assert calibration_error(bins) == pytest.approx(2 / 5 * 0.075 + 2 / 5 * 0.25 + 1 / 5 * 0.1)


def naive_error(probabilities, labels, num_bins):
    """Equation 3, bin by bin: B_m is the samples whose confidence lies in ((m - 1) / M, m / M]."""
    confidences, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    error = 0.0
    for low in range(num_bins):
        inside = (confidences > low / num_bins) & (confidences <= (low + 1) / num_bins)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidences[inside].mean())
    return error


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_error_is_that_of_equation_3(num_bins):
    rng = np.random.default_rng(num_bins)
    probabilities = rng.dirichlet(np.full(10, 0.3), size=500)
    labels = rng.integers(10, size=500)

    bins = reliability(probabilities, labels, num_bins=num_bins)

    assert bins["count"].sum() == 500
    assert calibration_error(bins) == pytest.approx(naive_error(probabilities, labels, num_bins))


def test_a_network_that_is_always_sure_and_right_has_no_error():
    assert calibration_error(reliability(np.eye(3), np.arange(3))) == 0
    assert calibration_error(reliability(np.eye(3), np.roll(np.arange(3), 1))) == 1


def test_labels_drawn_from_the_probabilities_have_little_error():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=20_000)
    labels = (probabilities.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)

    assert calibration_error(reliability(probabilities, labels)) < 0.02


def test_rounding_loses_no_sample():
    probabilities = np.array([[1.0000001, 0], [0.5, 0.5]], dtype=np.float32)

    assert reliability(probabilities, np.array([0, 0]))["count"].sum() == 2


def test_what_cannot_be_binned_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        reliability(np.array([[np.nan, 0.5]]), np.array([0]))
    with pytest.raises(ValueError, match="2 rows of probabilities for 1 labels"):
        reliability(np.eye(2), np.array([0]))


def test_no_samples_have_no_error():
    assert np.isnan(calibration_error(pd.DataFrame({"count": [0], "accuracy": [np.nan], "confidence": [np.nan]})))


def test_many_replicas_at_once_are_each_one_alone():
    rng = np.random.default_rng(1)
    parts = [
        reliability(rng.dirichlet([1, 1], size=30), rng.integers(2, size=30)).assign(cell=cell, seed=seed)
        for cell in ("a", "b")
        for seed in (3, 1)
    ]

    errors = calibration_errors(pd.concat(parts, ignore_index=True))

    assert list(zip(errors["cell"], errors["seed"], strict=True)) == [("a", 3), ("a", 1), ("b", 3), ("b", 1)]
    for part, row in zip(parts, errors.itertuples(), strict=True):
        assert row.calibration_error == pytest.approx(calibration_error(part), abs=1e-15)
        assert row.accuracy == pytest.approx((part["accuracy"] * part["count"]).sum() / 30)
    assert not len(calibration_errors(parts[0].assign(count=0)))
