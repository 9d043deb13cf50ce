"""Statistics over seeds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BATCH = 1000  # resamples at a time, so that thousands of values fit in memory
RESAMPLES = 50_000  # rliable's number for summaries; Agarwal et al., 2021, arXiv:2108.13264


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
