"""Statistics over seeds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BATCH = 1000  # resamples at a time, so that thousands of values fit in memory
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
