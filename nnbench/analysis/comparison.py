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

from collections.abc import Callable
from math import floor, log2

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nnbench.analysis.statistics import (
    MOST_AT_ONCE,
    MOST_FOR_EXACT,
    RESAMPLES,
    bootstrap_intervals,
    complete_rows,
    holm,
    num_sign_patterns,
    sign_flip_tests,
)

ALPHA = 0.05
REGION = 0.005  # half a percentage point of accuracy: a smaller difference is of no consequence
DECIMALS = 12  # of a score; what differs beyond them differs by rounding

# With five seeds the smallest two-sided p is 2 / 2^5 = .0625, and a 95 % bootstrap interval holds the mean in 83 %.
FEWEST_SEEDS = 6

# Of all tests of `compare_with` together: what some seconds are enough for. With more of them there are at least 10^9
# / patterns pairs, where patterns are those of the pair that has the most, so its smallest p, 1 / patterns, times the
# number of pairs is at least 10^9 / patterns^2. This is above ALPHA, as no pair has more than 50,001 patterns.
MOST_SIGN_PATTERNS = 1_000_000_000


def compare(replicas: pd.DataFrame, *, metric: str = "test/accuracy", region: float = REGION) -> pd.DataFrame:
    """Return the table of all pairs of cells, by a metric of which more is better.

    Diverged replicas count with the score at chance level that they were given. Raises ValueError for a cell that has
    a seed twice, a replica without a score and more than one data set.
    """
    return _pairs(cell_scores(replicas, metric=metric), region)


def compare_with(
    replicas: pd.DataFrame, cell: str, *, metric: str = "test/accuracy", region: float = REGION
) -> pd.DataFrame:
    """Return those rows of `compare` that have one cell, for more cells than one can have intervals for all pairs of.

    `p_holm` is corrected for all pairs of cells, as in `compare`: the cell was picked by looking at all of them, and
    so may be its rivals. With very many pairs and sign patterns (MOST_SIGN_PATTERNS) the p of the other pairs are not
    worked out but taken as 1, which makes `p_holm` larger, never smaller; no verdict differs, as no p is then small
    enough for one. Raises ValueError as `compare` does and for a cell without replicas.
    """
    scores = cell_scores(replicas, metric=metric)
    if cell not in scores:
        raise ValueError(f"the replicas have no cell {cell}; compare with one of theirs")
    return _pairs(scores, region, cell)


def compare_baselines(
    networks: pd.DataFrame,
    baselines: pd.DataFrame,
    *,
    cell: str,
    metric: str = "test/accuracy",
    region: float = REGION,
) -> pd.DataFrame:
    """Return one row for each baseline: what a cell of the networks is worth against it, on equal seeds.

    Both tables are `replicas` of the same data set; the `cell` of a baseline is the name of its model, and a model that
    draws nothing has the same score for each seed. Columns: `baseline`, `seeds`, `difference` (network minus baseline),
    `low`, `high`, `probability_of_improvement` (by the network), `p`, `p_holm`, `verdict`, as in a table of pairs, in
    the order of `baselines`. But Holm's correction is for the baselines alone, which are a family of their own, and a
    verdict says of the network that it is better, worse or equivalent, or that one cannot tell. Raises ValueError as
    `compare_with` does.
    """
    if "dataset" in networks and "dataset" in baselines:
        check_one_dataset(pd.concat([networks[["dataset"]], baselines[["dataset"]]]))
    scores = cell_scores(networks, metric=metric)
    if cell not in scores:
        raise ValueError(f"the networks have no cell {cell}; compare one of theirs with the baselines")
    of_baselines = cell_scores(baselines, metric=metric)[list(baselines["cell"].unique())].reindex(scores.index)
    differences = scores[cell].to_numpy() - of_baselines.to_numpy(dtype=float).T  # (baselines, seeds)
    table = _statistics(differences.round(DECIMALS))
    table.insert(0, "baseline", list(of_baselines.columns))
    table["p_holm"] = holm(table["p"].to_numpy())
    verdicts = pd.Series(_verdicts(table, region), dtype=object)
    table["verdict"] = verdicts.mask((verdicts == "better") & (table["difference"] < 0), "worse")
    return table


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
    This is a bound from below, see `too_many_pairs`.
    """
    return floor(log2(2 * num_pairs / ALPHA)) + 1


def too_many_pairs(num_pairs: int) -> bool:
    """Whether Holm's correction for so many pairs lets none be better, whatever the number of seeds.

    So it is beyond 2500 pairs: of many seeds `sign_flip_test` draws sign patterns, whose smallest p is 1 / 50,001.
    """
    return fewest_seeds(num_pairs) > MOST_FOR_EXACT and num_pairs >= ALPHA * (RESAMPLES + 1)


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


def _pairs(scores: pd.DataFrame, region: float, cell: str | None = None) -> pd.DataFrame:
    """Return the table of all pairs of columns, best mean first, or of those of one; a row of `scores` is a seed."""
    in_order = (-scores.mean()).sort_values(kind="stable").index
    values = scores[in_order].to_numpy(dtype=float).T  # (cells, seeds)
    first, second = np.triu_indices(len(values), 1)
    shown = np.ones(len(first), dtype=bool)
    if cell is not None:
        shown = (first == in_order.get_loc(cell)) | (second == in_order.get_loc(cell))
    others = _p_values(values, first[~shown], second[~shown])
    first, second = first[shown], second[shown]
    differences = _differences(values, first, second)
    behind = _by_row(np.mean, differences) < 0  # a cell that leads over all of its seeds may trail on those of both
    differences[behind] *= -1
    names = np.array(list(in_order), dtype=object)
    table = _statistics(differences)
    table.insert(0, "first", names[np.where(behind, second, first)].tolist())
    table.insert(1, "second", names[np.where(behind, first, second)].tolist())
    table["p_holm"] = _corrected(table["p"].to_numpy(), others)
    table["verdict"] = _verdicts(table, region)
    return table


def _differences(values: NDArray, first: NDArray, second: NDArray) -> NDArray:
    """Return the paired differences of `values`, (cells, seeds), between rows: (pairs, seeds)."""
    return (values[first] - values[second]).round(DECIMALS)


def _by_row(function: Callable[..., NDArray], differences: NDArray) -> NDArray:
    """Return a function of the differences that each row has, (rows,); not a number for a row without any."""
    results = np.full(len(differences), np.nan)
    for rows, present in complete_rows(differences):
        if present.shape[-1]:
            results[rows] = function(present, axis=-1)
    return results


def _statistics(differences: NDArray) -> pd.DataFrame:
    """Return what a table of pairs says of each row of paired differences, (pairs, seeds), before any correction."""
    low, high = bootstrap_intervals(differences)
    return pd.DataFrame(
        {
            "seeds": (~np.isnan(differences)).sum(axis=-1),
            "difference": _by_row(np.mean, differences),
            "low": low,
            "high": high,
            "probability_of_improvement": (_by_row(np.mean, np.sign(differences)) + 1) / 2,
            "p": sign_flip_tests(differences),
        }
    )


def _p_values(values: NDArray, first: NDArray, second: NDArray) -> NDArray:
    """Return p of those pairs, (pairs,), or 1 for each where they take too long; `values` is (cells, seeds)."""
    p_values = np.ones(len(first))
    present = (~np.isnan(values)).astype(float)
    num_common = (present @ present.T)[first, second].astype(int)
    numbers, counts = np.unique(num_common, return_counts=True)
    patterns = [num_sign_patterns(number) if number > 1 else 0 for number in map(int, numbers)]
    p_values[num_common < 2] = np.nan
    if np.dot(patterns, counts) > MOST_SIGN_PATTERNS:
        return p_values
    size = MOST_AT_ONCE // max(1, values.shape[-1])
    for start in range(0, len(first), size):
        block = slice(start, start + size)
        p_values[block] = sign_flip_tests(_differences(values, first[block], second[block]))
    return p_values


def _corrected(p_values: NDArray, others: NDArray) -> NDArray:
    """Return p after Holm's correction for those of all pairs, of which the others are not in the table."""
    return holm(np.concatenate([p_values, others]))[: len(p_values)]


def _verdicts(table: pd.DataFrame, region: float) -> NDArray:
    """Return better, equivalent or cannot tell for each row."""
    few = table["seeds"] < FEWEST_SEEDS
    equivalent = (-region <= table["low"]) & (table["high"] <= region)
    return np.select(
        [few, equivalent, table["p_holm"] < ALPHA], ["cannot tell", "equivalent", "better"], default="cannot tell"
    ).astype(object)
