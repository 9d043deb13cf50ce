"""Ranks of four to eight methods, and the critical difference that two mean ranks must be apart.

A block is what all methods are ranked on. It has to be independent of the other blocks, or the test is too sure of
itself: the activations of one seed share its draws, so they are no blocks of their own. Here a block is one seed on one
data set, and a method's score in it the mean over the activations. So the ranks hold for further seeds on these data
sets. They do not hold for further data sets, for which each data set would have to be one block, and a dozen of them
(Demsar, 2006) would be needed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nnbench.analysis.comparison import ALPHA, DECIMALS, method_scores

FEWEST_METHODS, MOST_METHODS = 4, 8  # fewer: `comparison` says more; more: the critical difference covers everything
FEWEST_BLOCKS = 6  # as many as seeds for a verdict; the chi-square law of Friedman's statistic wants about ten


@dataclass(frozen=True)
class Ranking:
    """What ranks say of methods.

    `table` has one row for each method, best first: `method`, `mean_rank` (1 is best, ties share the mean of their
    places), `blocks`. `statistic` and `p` are Friedman's, corrected for ties; `critical_difference` is Nemenyi's at
    `alpha`. `groups` has the largest sets of neighbours that cannot be told apart, as methods in order of rank; a
    method that is apart from all others is in none. Where p is not below alpha, there is but one group, of all.
    """

    table: pd.DataFrame
    statistic: float
    p: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    alpha: float = ALPHA
    by: str = "optimizer"  # or activation, or what else the methods are


def rank_methods(
    replicas: pd.DataFrame,
    *,
    by: str = "optimizer",
    over: str = "activation",
    metric: str = "test/accuracy",
    alpha: float = ALPHA,
) -> Ranking:
    """Rank optimizers on every data set and seed by their mean score over the activations that all of them have.

    `replicas` is that of `nnbench.analysis.tables`, here of one data set or several. `by` and `over` may be other
    columns. Raises ValueError outside four to eight methods and below six blocks, and as
    `nnbench.analysis.comparison.compare` does for doubled seeds and missing scores.
    """
    parts = [part for _, part in replicas.groupby("dataset", sort=False)] if "dataset" in replicas else [replicas]
    blocks = pd.concat([method_scores(part, by=by, over=over, metric=metric) for part in parts])
    return rank(blocks.dropna(axis="columns"), by=by, alpha=alpha)


def rank(scores: pd.DataFrame, *, by: str = "optimizer", alpha: float = ALPHA) -> Ranking:
    """Rank the columns (methods) in each row (a block) of a table of scores, of which more is better.

    Friedman, 1937; Nemenyi, 1963; both as in Demsar, 2006, Statistical Comparisons of Classifiers over Multiple Data
    Sets, JMLR 7, section 3.2.2. Raises ValueError outside four to eight methods and below six blocks.
    """
    from scipy.stats import friedmanchisquare, rankdata

    num_blocks, num_methods = scores.shape
    if not FEWEST_METHODS <= num_methods <= MOST_METHODS:
        raise ValueError(
            f"there are {num_methods} methods to rank; a critical difference is for {FEWEST_METHODS} to "
            f"{MOST_METHODS}, see the paired comparisons instead"
        )
    if num_blocks < FEWEST_BLOCKS:
        raise ValueError(f"there are {num_blocks} blocks to rank in; train at least {FEWEST_BLOCKS} equal seeds")
    values = scores.to_numpy().round(DECIMALS)  # (blocks, methods)
    mean_ranks = rankdata(-values, axis=-1).mean(axis=0)
    in_order = np.argsort(mean_ranks, kind="stable")
    methods = [str(scores.columns[place]) for place in in_order]
    all_tied = (values == values[:, :1]).all()
    statistic, p = (0.0, 1.0) if all_tied else map(float, friedmanchisquare(*values.T))
    distance = critical_difference(num_methods, num_blocks, alpha=alpha)
    groups = _groups(methods, mean_ranks[in_order], distance) if p < alpha else (tuple(methods),)
    table = pd.DataFrame({"method": methods, "mean_rank": mean_ranks[in_order], "blocks": num_blocks})
    return Ranking(table, statistic, p, distance, groups, alpha, by)


def critical_difference(num_methods: int, num_blocks: int, *, alpha: float = ALPHA) -> float:
    """Return how far two mean ranks must be apart to differ at a family-wise alpha.

        q sqrt(k (k + 1) / (6 N)),  q = studentized range of k normal values / sqrt(2)

    Nemenyi, 1963; Demsar, 2006, table 5(a).
    """
    from scipy.stats import studentized_range

    range_of_means = studentized_range.ppf(1 - alpha, num_methods, np.inf)
    return float(range_of_means / np.sqrt(2) * np.sqrt(num_methods * (num_methods + 1) / (6 * num_blocks)))


def _groups(methods: list[str], mean_ranks: np.ndarray, distance: float) -> tuple[tuple[str, ...], ...]:
    """Return the largest runs of methods, in order of rank, whose ends are less than a distance apart."""
    groups: list[tuple[int, int]] = []
    for first in range(len(methods)):
        end = int(np.searchsorted(mean_ranks, mean_ranks[first] + distance, side="left"))
        if end - first > 1 and (not groups or end > groups[-1][1]):  # or else part of the group before
            groups.append((first, end))
    return tuple(tuple(methods[first:end]) for first, end in groups)
