"""Intervals agree with a second implementation and cover what they claim to."""

import numpy as np
import pytest

from nnbench.analysis.statistics import bootstrap_interval


def percentile_bootstrap(values, confidence, num_resamples=100_000, seed=1):
    """Draw resamples of seeds, take each one's mean, and cut off both tails: the definition, in three lines."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, size=(num_resamples, len(values))).mean(axis=-1)
    return np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("num_seeds", [3, 10, 30])
def test_interval_is_the_percentile_bootstrap_of_the_mean(num_seeds, confidence):
    values = np.random.default_rng(num_seeds).gamma(2, size=num_seeds)  # skewed, as accuracies near 1 are

    interval = bootstrap_interval(values, confidence=confidence)

    # Two draws of the same quantile differ by some thousandths of the spread of the means.
    spread = values.std() / np.sqrt(num_seeds)
    np.testing.assert_allclose(interval, percentile_bootstrap(values, confidence), atol=0.05 * spread)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.normal(0.9, 0.02, size=20)) for _ in range(100)]

    covered = sum(low <= 0.9 <= high for low, high in intervals)

    assert 86 <= covered <= 99  # the percentile bootstrap of 20 values covers 93 %, within three standard errors


def test_interval_holds_the_mean_and_shrinks_with_more_seeds():
    values = np.random.default_rng(0).normal(0.9, 0.02, size=10)

    low, high = bootstrap_interval(values)
    many_low, many_high = bootstrap_interval(np.tile(values, 16))

    assert low < values.mean() < high
    assert (many_high - many_low) / (high - low) == pytest.approx(1 / 4, rel=0.05)


def test_interval_is_the_same_whenever_it_is_computed():
    values = [0.91, 0.93, 0.95, 0.92]

    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_interval_moves_and_scales_with_its_values():
    values = np.array([0.91, 0.93, 0.95, 0.92])

    low, high = bootstrap_interval(values)

    np.testing.assert_allclose(bootstrap_interval(2 * values + 1), (2 * low + 1, 2 * high + 1))


@pytest.mark.parametrize("values", [[], [0.9]])
def test_one_seed_has_no_interval(values):
    assert np.isnan(bootstrap_interval(values)).all()


def test_equal_values_have_an_interval_without_width():
    assert bootstrap_interval([0.1, 0.1, 0.1]) == (0.1, 0.1)
