"""Intervals and tests agree with a second implementation and keep the error rates that they claim."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from nnbench.analysis.statistics import RESAMPLES, bootstrap_interval, holm, sign_flip_test


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


def share_of_sign_patterns(counts):
    """Return the p of integer differences from its definition, in exact arithmetic."""
    sums = [
        abs(sum(sign * count for sign, count in zip(signs, counts, strict=True)))
        for signs in product((1, -1), repeat=len(counts))
    ]
    return sum(value >= abs(sum(counts)) for value in sums) / len(sums)


accuracies = st.lists(st.tuples(st.integers(0, 10_000), st.integers(-300, 300)), min_size=2, max_size=8)


@given(accuracies)
@settings(max_examples=100, deadline=None)
def test_p_counts_sign_patterns_and_ties_as_exact_arithmetic_does(pairs):
    # Differences of multiples of 1 / 10,000 in floating point: many sums tie but for their last bits.
    differences = [first / 10_000 - (first + change) / 10_000 for first, change in pairs]

    assert sign_flip_test(differences) == share_of_sign_patterns([-change for _, change in pairs])


def test_a_sum_that_cancels_but_for_its_last_bits_is_no_evidence():
    first, second = np.array([[91, 93, 92, 97, 92], [96, 96, 87, 94, 92]])

    differences = first / 100 - second / 100

    assert differences.sum() != 0
    assert sign_flip_test(differences) == share_of_sign_patterns(first - second) == 1  # scipy 1.17.1 has .875


@pytest.mark.parametrize("num_seeds", [2, 5, 10])
def test_p_is_that_of_scipy_where_nothing_ties(num_seeds):
    differences = np.random.default_rng(num_seeds).normal(0.3, 1, size=num_seeds)

    wanted = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue

    assert sign_flip_test(differences) == pytest.approx(wanted)


@pytest.mark.parametrize("num_seeds", range(2, 17))
def test_smallest_p_is_two_patterns_of_all(num_seeds):
    assert sign_flip_test(np.linspace(0.01, 0.02, num_seeds)) == 2 / 2**num_seeds


@pytest.mark.parametrize("num_seeds", [2, 16, 17, 30])
def test_no_difference_at_all_is_p_1(num_seeds):
    assert sign_flip_test([0.0] * num_seeds) == 1


@pytest.mark.parametrize("differences", [[], [0.1]])
def test_one_seed_has_no_p(differences):
    assert np.isnan(sign_flip_test(differences))


def test_p_of_many_seeds_is_near_the_exact_one_and_never_zero():
    differences = np.random.default_rng(0).normal(0.3, 1, size=18)
    sums = np.zeros(1)
    for difference in differences:
        sums = np.append(sums + difference, sums - difference)
    exact = np.mean(abs(sums) >= abs(differences.sum()) - 1e-9)

    assert 0.05 < exact < 0.95
    assert sign_flip_test(differences) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / RESAMPLES))
    assert sign_flip_test(differences) == sign_flip_test(differences)
    assert sign_flip_test([0.01] * 40) == 1 / (RESAMPLES + 1)


@pytest.mark.parametrize("num_seeds", [7, 20])
def test_p_knows_neither_order_of_cells_nor_unit(num_seeds):
    differences = np.random.default_rng(1).normal(0.3, 1, size=num_seeds)

    p = sign_flip_test(differences)

    assert 0 < p < 1
    assert sign_flip_test(-differences) == p
    assert sign_flip_test(1e-6 * differences) == p


def test_p_is_below_alpha_about_as_often_as_alpha_says():
    rng = np.random.default_rng(0)
    p_values = np.array([sign_flip_test(rng.standard_t(3, size=8)) for _ in range(2000)])

    for alpha in (0.05, 0.25, 0.5):
        assert np.mean(p_values <= alpha) == pytest.approx(alpha, abs=4 * np.sqrt(alpha * (1 - alpha) / 2000))


# Raw p-values of SAS/STAT 14.1, User's Guide, The MULTTEST Procedure, example "Inputting Raw p-Values".
SAS = [
    0.28282, 0.30688, 0.71022, 0.77175, 0.78180, 0.88581, 0.54685, 0.84978, 0.24228, 0.58977, 0.03498, 0.41607,
    0.31631, 0.05254, 0.45061, 0.75758, 0.12496, 0.49485, 0.21572, 0.50505, 0.94372, 0.81260, 0.77596, 0.36889,
]  # fmt: skip
PUBLISHED = {
    "SAS/STAT, PROC MULTTEST": (SAS, [1] * 10 + [0.8395] + [1] * 13),  # printed with four decimals
    "Wikipedia, Holm-Bonferroni method": ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
    "stdlib, padjust, after R's p.adjust": ([0.319, 0.201, 0.4, 0.374, 0.113], [0.957, 0.804, 0.957, 0.957, 0.565]),
}


@pytest.mark.parametrize(("raw", "adjusted"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_holm_is_that_of_published_examples(raw, adjusted):
    np.testing.assert_allclose(holm(raw), adjusted, atol=5e-5)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_its_stepwise_procedure_rejects(p_values, alpha):
    rejected = np.zeros(len(p_values), dtype=bool)
    for step, place in enumerate(np.argsort(p_values)):
        if p_values[place] * (len(p_values) - step) > alpha:
            break
        rejected[place] = True

    np.testing.assert_array_equal(holm(p_values) <= alpha, rejected)


def test_what_was_not_tested_is_not_counted():
    np.testing.assert_array_equal(holm([0.01, np.nan, 0.02]), [0.02, np.nan, 0.02])
    np.testing.assert_array_equal(holm([np.nan]), [np.nan])
    assert holm([]).shape == (0,)
