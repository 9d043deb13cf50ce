"""Statistics over seeds."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

BATCH = 1000  # resamples at a time, so that thousands of values fit in memory
MOST_AT_ONCE = 4_000_000  # values of a batch of resamples, 32 MB
PATTERNS_AT_ONCE = 2**18  # sums over sign patterns, 2 MB: what a processor's cache holds
RESAMPLES = 50_000  # rliable's number for summaries; Agarwal et al., 2021, arXiv:2108.13264
MOST_FOR_EXACT = 16  # differences of which every sign pattern is tried: 2^16 is about RESAMPLES
ROUNDING = 1e-10  # relative; distinct sums of accuracies differ by far more, equal ones by the last bits


def bootstrap_interval(values: Sequence[float] | NDArray, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean; not a number for fewer than two values.

    Efron, 1979, with the resampled unit being a seed. The resampling is seeded: the same values give the same interval.
    """
    low, high = bootstrap_intervals(np.atleast_2d(np.asarray(values, dtype=float)), confidence=confidence)
    return float(low[0]), float(high[0])


def bootstrap_intervals(values: NDArray, *, confidence: float = 0.95) -> tuple[NDArray, NDArray]:
    """Return the low and the high ends, (rows,) each, of the interval of `bootstrap_interval` for each row.

    `values` is (rows, seeds); what is not a number there is a seed that the row lacks. A row's interval depends on its
    own values alone, to the last bit. The draws are those of scipy.stats.bootstrap with rng=0 and batch=BATCH. Not a
    number for a row with an infinite value.
    """
    low, high = np.full((2, len(values)), np.nan)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    for rows, present in complete_rows(values):
        if present.shape[-1] < 2:
            continue
        finite = np.isfinite(present).all(axis=-1)
        rows, present = rows[finite], present[finite]
        size = MOST_AT_ONCE // RESAMPLES
        for first in range(0, len(rows), size):
            block, of_block = present[first : first + size], rows[first : first + size]
            low[of_block], high[of_block] = np.quantile(_resampled_means(block), tails, axis=-1)
        equal = (present == present[:, :1]).all(axis=-1)
        low[rows[equal]] = high[rows[equal]] = present[equal, 0]
    return low, high


def _resampled_means(values: NDArray) -> NDArray:
    """Return the means of RESAMPLES resamples of each row, (rows, resamples)."""
    num_rows, num_seeds = values.shape
    rng = np.random.default_rng(0)
    means = np.zeros((num_rows, RESAMPLES))
    for first in range(0, RESAMPLES, BATCH):
        drawn = rng.integers(num_seeds, size=(BATCH, num_seeds))
        places = drawn + num_seeds * np.arange(BATCH)[:, np.newaxis]
        counts = np.bincount(places.ravel(), minlength=BATCH * num_seeds).reshape(BATCH, num_seeds).astype(float)
        of_batch = means[:, first : first + BATCH]
        # How often a seed was drawn, times its value, seed after seed: a matrix product has other last bits for one
        # row than for many.
        for seed in range(num_seeds):
            of_batch += values[:, seed, np.newaxis] * counts[:, seed]
    means /= num_seeds
    return means


def complete_rows(values: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield the numbers of the rows that have equally many values, and these values, (rows, values).

    `values` is (rows, seeds), not a number where a row lacks a seed; its values stay in their order.
    """
    present = ~np.isnan(values)
    num_present = present.sum(axis=-1)
    for number in np.unique(num_present):
        rows = np.flatnonzero(num_present == number)
        yield rows, values[rows][present[rows]].reshape(len(rows), number)


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
    return float(sign_flip_tests(np.atleast_2d(np.asarray(differences, dtype=float)))[0])


def sign_flip_tests(differences: NDArray) -> NDArray:
    """Return the p of `sign_flip_test` of each row, (rows,).

    `differences` is (rows, seeds); what is not a number there is a seed that the row lacks.
    """
    p_values = np.full(len(differences), np.nan)
    for rows, present in complete_rows(differences):
        if present.shape[-1] < 2:
            continue
        exact = present.shape[-1] <= MOST_FOR_EXACT  # or else drawing the patterns is what takes time
        size = (PATTERNS_AT_ONCE if exact else MOST_AT_ONCE) // num_sign_patterns(present.shape[-1])
        for first in range(0, len(rows), size):
            p_values[rows[first : first + size]] = _shares_of_sign_patterns(present[first : first + size])
    return p_values


def num_sign_patterns(num_seeds: int) -> int:
    """Return how many sign patterns `sign_flip_test` tries: one of each pattern and its opposite, whose sums are too.

    The smallest p is one divided by it.
    """
    return 2 ** (num_seeds - 1) if num_seeds <= MOST_FOR_EXACT else RESAMPLES + 1


def _shares_of_sign_patterns(differences: NDArray) -> NDArray:
    """Return the share of patterns whose sum is as far from zero as that of the row itself, (rows,)."""
    # Sums that are equal on paper count as equal. scipy.stats.permutation_test allows for rounding in proportion to
    # the observed mean, so it misses ties where large differences cancel.
    extreme = abs(differences.sum(axis=-1)) - ROUNDING * abs(differences).sum(axis=-1)
    sums = _sums_over_sign_patterns(differences)
    return np.count_nonzero(np.abs(sums, out=sums) >= extreme, axis=0) / len(sums)


def _sums_over_sign_patterns(differences: NDArray) -> NDArray:
    """Return the sums of each row's differences, (patterns, rows), the observed pattern first."""
    num_rows, num_seeds = differences.shape
    if num_seeds <= MOST_FOR_EXACT:
        sums = differences[:, 0][np.newaxis]
        for difference in differences[:, 1:].T:
            sums = np.concatenate([sums + difference, sums - difference])
        return sums
    kept = np.random.default_rng(0).integers(2, size=(RESAMPLES, num_seeds), dtype=np.int8)  # or else flipped
    total = differences.sum(axis=-1)
    sums = np.empty((RESAMPLES + 1, num_rows))
    sums[0] = total
    size = MOST_AT_ONCE // num_seeds
    for first in range(0, RESAMPLES, size):
        of_batch = kept[first : first + size].astype(float)  # or else no fast matrix product
        np.matmul(of_batch, differences.T, out=sums[1 + first : 1 + first + len(of_batch)])
    sums[1:] *= 2
    sums[1:] -= total
    return sums


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
