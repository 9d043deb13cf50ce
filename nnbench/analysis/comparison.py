"""The verdict between settings: pairs of them on equal seeds, corrected for the number of pairs.

`replicas` is that of `nnbench.analysis.tables`, of one data set: accuracies on different data say nothing about each
other. The unit is the seed, so a verdict holds for further seeds on this data set and this split of it.

A table of pairs has one row for each: `first` and `second`, where `first` has the higher mean on the seeds that both
have; `seeds`, their number; `difference`, the mean of first minus second, with the 95 % bootstrap interval `low` to
`high`; `probability_of_improvement`, the share of seeds that first wins, a tie being half a win; `p` (sign-flip test)
and `p_holm`, adjusted for all pairs of the table; `verdict`:

    equivalent     the interval lies within the region of practical equivalence (the number of pairs is no matter here)
    better         not equivalent, and p_holm is below .05
    cannot tell    everything else, and whatever has fewer than six seeds
"""

from itertools import combinations
from math import floor, log2

import numpy as np
import pandas as pd

from nnbench.analysis.statistics import bootstrap_interval, holm, sign_flip_test

ALPHA = 0.05
REGION = 0.005  # half a percentage point of accuracy: a smaller difference is of no consequence
DECIMALS = 12  # of a score; what differs beyond them differs by rounding

# With five seeds the smallest two-sided p is 2 / 2^5 = .0625, and a 95 % bootstrap interval holds the mean in 83 %.
FEWEST_SEEDS = 6


def compare(replicas: pd.DataFrame, *, metric: str = "test/accuracy", region: float = REGION) -> pd.DataFrame:
    """Return the table of all pairs of cells, by a metric of which more is better.

    Diverged replicas count with the score at chance level that they were given. Raises ValueError for a cell that has
    a seed twice, a replica without a score and more than one data set.
    """
    return _pairs(cell_scores(replicas, metric=metric), region)


def compare_methods(
    replicas: pd.DataFrame,
    *,
    by: str = "optimizer",
    over: str = "activation",
    metric: str = "test/accuracy",
    region: float = REGION,
) -> pd.DataFrame:
    """Return the table of all pairs of optimizers, each seed's score being the mean over activations.

    The seed stays the unit, as the cells of one seed share its draws and are no independent evidence. Averaged are the
    activations that every optimizer has, over the seeds that have all of them; the verdict holds for this average, not
    for each activation. `by` and `over` may be other columns. Raises ValueError as `compare` does.
    """
    return _pairs(method_scores(replicas, by=by, over=over, metric=metric), region)


def method_scores(
    replicas: pd.DataFrame, *, by: str = "optimizer", over: str = "activation", metric: str = "test/accuracy"
) -> pd.DataFrame:
    """Return one row for each seed and one column for each optimizer: its mean over the activations that all have.

    Raises ValueError as `compare` does.
    """
    return common_scores(replicas, by=by, over=over, metric=metric).groupby("seed").mean()


def common_scores(
    replicas: pd.DataFrame, *, by: str = "optimizer", over: str = "activation", metric: str = "test/accuracy"
) -> pd.DataFrame:
    """Return one row for each activation and seed, one column for each optimizer, without any gap.

    These are the activations that every optimizer has, over the seeds that have all of them. Raises ValueError as
    `compare` does.
    """
    return without_gaps(_scores(replicas, by, [over, "seed"], metric))


def without_gaps(scores: pd.DataFrame) -> pd.DataFrame:
    """Return of a table indexed by cell and seed the cells that have every column, over the seeds that have them all.

    The last level of the index is the seed; what stays is in the order of cells, then seeds.
    """
    complete = scores.dropna().sort_index()
    num_cells = len(complete.index.droplevel("seed").unique())
    num_by_seed = complete.index.get_level_values("seed").value_counts()
    return complete[complete.index.get_level_values("seed").map(num_by_seed) == num_cells]


def cell_scores(replicas: pd.DataFrame, *, metric: str = "test/accuracy") -> pd.DataFrame:
    """Return one row for each seed and one column for each cell, not a number where a cell lacks the seed.

    Raises ValueError as `compare` does.
    """
    return _scores(replicas, "cell", ["seed"], metric)


def fewest_seeds(num_pairs: int) -> int:
    """Return the number of equal seeds below which Holm's correction for so many pairs lets none be better.

    The smallest two-sided p of n seeds is 2 / 2^n, and the smallest p of a table is multiplied by its number of pairs.
    """
    return floor(log2(2 * num_pairs / ALPHA)) + 1


def _scores(replicas: pd.DataFrame, columns: str, index: list[str], metric: str) -> pd.DataFrame:
    """Return the metric with a column for each cell or method, checked."""
    check_one_dataset(replicas)
    check_no_doubles(replicas, [columns, *index])
    unscored = replicas[~np.isfinite(replicas[metric])]
    if len(unscored):
        raise ValueError(
            f"{_first(unscored, [columns, *index, metric])} is no score; compare a metric that diverged replicas have, "
            "such as test/accuracy"
        )
    return replicas.pivot_table(index=index, columns=columns, values=metric).round(DECIMALS)


def check_one_dataset(replicas: pd.DataFrame) -> None:
    """Raise ValueError for replicas of several data sets."""
    if "dataset" in replicas and len(replicas["dataset"].unique()) > 1:
        found = ", ".join(map(str, replicas["dataset"].unique()))
        raise ValueError(f"these replicas are of several data sets, {found}; compare one data set at a time")


def check_no_doubles(replicas: pd.DataFrame, columns: list[str]) -> None:
    """Raise ValueError for two rows that agree in those columns."""
    repeated = replicas[replicas.duplicated(columns)]
    if len(repeated):
        raise ValueError(f"{_first(repeated, columns)} has two rows; pass one, so that seeds can be paired")


def _first(rows: pd.DataFrame, names: list[str]) -> str:
    """Name the first row, as in cell adam relu, seed 3."""
    return ", ".join(f"{name} {rows[name].iloc[0]}" for name in names)


def _pairs(scores: pd.DataFrame, region: float) -> pd.DataFrame:
    """Return the table of all pairs of columns, best mean first; one row of `scores` is a seed."""
    in_order = (-scores.mean()).sort_values(kind="stable").index
    table = pd.DataFrame(
        [_pair(scores, first, second) for first, second in combinations(in_order, 2)],
        columns=["first", "second", "seeds", "difference", "low", "high", "probability_of_improvement", "p"],
    )
    table["p_holm"] = holm(table["p"].to_numpy())
    table["verdict"] = [_verdict(pair, region) for _, pair in table.iterrows()]
    return table


def _pair(scores: pd.DataFrame, first: str, second: str) -> dict[str, object]:
    differences = (scores[first] - scores[second]).dropna().round(DECIMALS)
    if differences.sum() < 0:  # a cell that leads over all of its seeds may trail on those that both have
        first, second, differences = second, first, -differences
    low, high = bootstrap_interval(differences.to_numpy())
    return {
        "first": first,
        "second": second,
        "seeds": len(differences),
        "difference": differences.mean(),
        "low": low,
        "high": high,
        "probability_of_improvement": (np.sign(differences).mean() + 1) / 2,
        "p": sign_flip_test(differences.to_numpy()),
    }


def _verdict(pair: pd.Series, region: float) -> str:
    if pair["seeds"] < FEWEST_SEEDS:
        return "cannot tell"
    if -region <= pair["low"] and pair["high"] <= region:
        return "equivalent"
    return "better" if pair["p_holm"] < ALPHA else "cannot tell"
