"""Profiles: how often a method is good enough, for every meaning of good enough.

Both tables have a row for each method and threshold: `optimizer` (or the column that `by` names), the threshold,
`share`, and its 95 % bootstrap interval `low` to `high`. The interval resamples seeds, each with all of its cells, as
the cells of a seed share its draws; it is pointwise, so a whole curve may well leave it somewhere. Compared are the
cells that every method has, over the seeds that have all of them. Profiles describe; they test nothing.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nnbench.analysis.comparison import check_no_doubles, check_one_dataset, without_gaps

RESAMPLES = 2000  # rliable's number for profiles; Agarwal et al., 2021, arXiv:2108.13264


def performance_profile(
    replicas: pd.DataFrame, *, by: str = "optimizer", over: str = "activation", metric: str = "val/target_epoch"
) -> pd.DataFrame:
    """Return the share of problems that each method solves within a `factor` of the fastest method's time.

    A problem is one seed of one activation on one data set; a miss is an infinite time, so that a curve ends at the
    hit rate. A problem that nobody solves counts as a miss of all. `metric` is any time to target of `replicas`:
    val/target_epoch, val/target_gradient_evaluations, time/target_seconds. Raises ValueError where `replicas` lacks
    it, as without a target accuracy.

    Dolan & More, 2002, arXiv:cs/0102001.
    """
    if metric not in replicas:
        raise ValueError(f"the replicas have no {metric}; train them with a target_accuracy")
    methods, times = _problems(replicas, by, over, metric)  # (methods, cells, seeds)
    fastest = times.min(axis=0)
    # Equal times are a factor of 1, also where both are zero or a seed takes no time at all.
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(times == fastest, 1.0, times / fastest)
    factors = np.where(np.isfinite(times), factors, np.inf)
    thresholds = np.unique(np.append(factors[np.isfinite(factors)], 1.0))
    return _profile(methods, by, "factor", thresholds, [factors <= factor for factor in thresholds])


def score_profile(
    replicas: pd.DataFrame,
    *,
    by: str = "optimizer",
    over: str = "activation",
    metric: str = "test/accuracy",
) -> pd.DataFrame:
    """Return the share of runs of each method whose score is above a `threshold`: 0 and every score that occurs.

    Runs are of one data set, as a score means something else on another. The area under a curve, from zero, is the
    mean score. Agarwal et al., 2021, arXiv:2108.13264, section 4.2.
    """
    check_one_dataset(replicas)
    methods, scores = _problems(replicas, by, over, metric)
    thresholds = np.unique(np.append(scores, 0.0))
    return _profile(methods, by, "threshold", thresholds, [scores > threshold for threshold in thresholds])


def _problems(replicas: pd.DataFrame, by: str, over: str, metric: str) -> tuple[list[str], NDArray]:
    """Return the methods and the metric, (methods, cells, seeds), of the cells and seeds that all of them have."""
    cell = [name for name in ("dataset", over) if name in replicas]
    check_no_doubles(replicas, [by, *cell, "seed"])
    values = without_gaps(replicas.pivot_table(index=[*cell, "seed"], columns=by, values=metric))
    if not len(values):
        raise ValueError(f"no seed has a {metric} of every {by}; compare methods on equal seeds")
    num_seeds = len(values.index.get_level_values("seed").unique())
    return list(map(str, values.columns)), values.to_numpy().T.reshape(values.shape[1], -1, num_seeds)


def _profile(methods: list[str], by: str, axis: str, thresholds: NDArray, met: list[NDArray]) -> pd.DataFrame:
    """Return the table from whether each method, cell and seed met each threshold, (methods, cells, seeds) each."""
    by_seed = np.stack(met).mean(axis=2)  # (thresholds, methods, seeds)
    num_seeds = by_seed.shape[-1]
    weights = np.random.default_rng(0).multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=RESAMPLES) / num_seeds
    parts = []
    for place, method in enumerate(methods):
        shares = by_seed[:, place]  # (thresholds, seeds)
        low, high = np.quantile(shares @ weights.T, [0.025, 0.975], axis=-1)
        if num_seeds < 2:
            low = high = np.full(len(thresholds), np.nan)
        parts.append(
            pd.DataFrame({by: method, axis: thresholds, "share": shares.mean(axis=-1), "low": low, "high": high})
        )
    return pd.concat(parts, ignore_index=True)
