"""Statistics over seeds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BATCH = 1000  # resamples at a time, so that thousands of values fit in memory
MOST_AT_ONCE = 4_000_000  # values of a batch of resamples, 32 MB
RESAMPLES = 50_000  # rliable's number for summaries; Agarwal et al., 2021, arXiv:2108.13264
MOST_FOR_EXACT = 16  # differences of which every sign pattern is tried: 2^16 is about RESAMPLES
ROUNDING = 1e-10  # relative; distinct sums of accuracies differ by far more, equal ones by the last bits


def bootstrap_interval(values: Sequence[float] | NDArray, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean; not a number for fewer than two values.

    Efron, 1979, with the resampled unit being a seed. The resampling is seeded: the same values give the same interval.
    """
    from scipy.stats import bootstrap

    if len(values) < 2:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    outcome = bootstrap(
        (np.asarray(values),),
        np.mean,
        batch=BATCH,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        rng=0,
    )
    return float(outcome.confidence_interval.low), float(outcome.confidence_interval.high)


def interquartile_mean(values: Sequence[float] | NDArray) -> NDArray:
    """Return the mean of the middle half of the values along the last axis: a quarter, rounded down, goes at each end.

    Of several values a mean that one lucky or diverged training cannot move, and less noisy than the median. Not a
    number for no values. Agarwal et al., 2021, arXiv:2108.13264.
    """
    values = np.sort(np.asarray(values, dtype=float), axis=-1)
    num_values = values.shape[-1]
    if num_values == 0:
        return np.full(values.shape[:-1], np.nan)
    return values[..., num_values // 4 : num_values - num_values // 4].mean(axis=-1)


def interquartile_interval(scores: NDArray, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the interquartile mean; not a number for fewer than two seeds.

    `scores` is (seeds,), or (cells, seeds) for the mean over all of them. The resampled unit is a seed, with the scores
    of all cells: they share its draws. rliable, whose runs are independent, resamples within each cell. The resampling
    is seeded: the same scores give the same interval.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    num_cells, num_seeds = scores.shape
    if num_seeds < 2:
        return np.nan, np.nan
    rng = np.random.default_rng(0)
    size = max(1, min(BATCH, MOST_AT_ONCE // scores.size))
    means = np.empty(RESAMPLES)
    for first in range(0, RESAMPLES, size):
        seeds = rng.integers(num_seeds, size=(len(means[first : first + size]), num_seeds))
        resampled = scores[:, seeds].swapaxes(0, 1)  # (resamples, cells, seeds)
        means[first : first + size] = interquartile_mean(resampled.reshape(-1, num_cells * num_seeds))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def sign_flip_test(differences: Sequence[float] | NDArray) -> float:
    """Return the two-sided p of a mean paired difference; not a number for fewer than two differences.

    If it does not matter which of two settings a seed was given, each difference might as well have had the other
    sign. So p is the share of sign patterns whose mean is at least as far from zero: of all 2^n patterns for up to 16
    differences, of RESAMPLES seeded random ones and the observed one for more.

    Fisher, 1935, The Design of Experiments, section 21; Phipson & Smyth, 2010, arXiv:1603.05766.
    """
    differences = np.asarray(differences, dtype=float)
    if len(differences) < 2:
        return np.nan
    sums = _sums_over_sign_patterns(differences)

    # Sums that are equal on paper count as equal. scipy.stats.permutation_test allows for rounding in proportion to
    # the observed mean, so it misses ties where large differences cancel.
    extreme = abs(differences.sum()) - ROUNDING * abs(differences).sum()
    return float(np.mean(abs(sums) >= extreme))


def _sums_over_sign_patterns(differences: NDArray) -> NDArray:
    """Return the sums of the differences, (patterns,), the observed pattern first."""
    if len(differences) <= MOST_FOR_EXACT:
        sums = np.zeros(1)
        for difference in differences:
            sums = np.concatenate([sums + difference, sums - difference])
        return sums
    kept = np.random.default_rng(0).integers(2, size=(RESAMPLES, len(differences)), dtype=np.int8)  # or else flipped
    return np.append(differences.sum(), 2 * (kept @ differences) - differences.sum())


def holm(p_values: Sequence[float] | NDArray) -> NDArray:
    """Return p-values adjusted for how many there are, in their order; one that is not a number stays so, uncounted.

    Those below alpha hold together: the chance of even one false claim among them is at most alpha.

        adjusted p_(i) = max over j <= i of min((m - j + 1) p_(j), 1)

    Holm, 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    p_values = np.asarray(p_values, dtype=float)
    num_tests = np.count_nonzero(~np.isnan(p_values))  # m
    order = np.argsort(p_values)[:num_tests]  # NaN is sorted to the end
    adjusted = np.full_like(p_values, np.nan)
    adjusted[order] = np.maximum.accumulate(np.minimum(p_values[order] * np.arange(num_tests, 0, -1), 1))
    return adjusted
