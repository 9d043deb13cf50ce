"""Where the differences between replicas come from: shares of their sum of squares."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nnbench.analysis.comparison import check_one_dataset

ROUNDING = 1e-24  # of the squared size of the scores; a smaller sum of squares is none


def variance_shares(
    replicas: pd.DataFrame,
    *,
    factors: tuple[str, str] = ("optimizer", "activation"),
    within: str | None = None,
    metric: str = "test/accuracy",
) -> pd.DataFrame:
    """Return what part of the differences between replicas goes with optimizer, activation, both together and seed.

    One row for each source: `source`, `sum_of_squares`, `degrees_of_freedom`, `share` of the total. The sources are the
    two factors, their interaction (what an activation does with one optimizer and not with another), `seed` (what a
    seed does in all cells alike) and `residual` (what it does in each cell anew). The shares sum to 1. They describe
    these levels: one bad optimizer added to the study takes most of the total.

    With `within="trial"` the rows are trainings of a tuning (`cell`, factors, `trial`, `seed`, and `metric`
    val/selected_accuracy), and the source `trial within cell` is what the hyperparameters do, of which each optimizer
    has its own grid. Pass trials of the first grid alone where some were extended.

    Two-way analysis of variance with seeds as blocks: Fisher, 1935, The Design of Experiments. Sums and shares are not
    a number for a layout that is not balanced (every combination with the same seeds, once each, at least two of them)
    and shares also where nothing differs; then there is no such decomposition. Raises ValueError for several data sets.
    """
    check_one_dataset(replicas)
    first, second = factors
    sources = [first, second, f"{first} x {second}", *([f"{within} within cell"] if within else []), "seed", "residual"]
    layout = _layout(replicas, factors, within, metric)
    if layout is None:
        return _table(sources, [np.nan] * len(sources), [pd.NA] * len(sources), [np.nan] * len(sources))
    num_first, num_second, num_trials, num_seeds = layout.shape
    grand = layout.mean()
    by_cell = layout.mean(axis=(2, 3))  # (first, second)
    by_trial = layout.mean(axis=3)  # (first, second, trials)
    sums = [
        layout[0].size * np.square(layout.mean(axis=(1, 2, 3)) - grand).sum(),
        layout[:, 0].size * np.square(layout.mean(axis=(0, 2, 3)) - grand).sum(),
    ]
    sums.append(layout[0, 0].size * np.square(by_cell - grand).sum() - sum(sums))
    if within:
        sums.append(num_seeds * np.square(by_trial - by_cell[..., np.newaxis]).sum())
    sums.append(layout[..., 0].size * np.square(layout.mean(axis=(0, 1, 2)) - grand).sum())
    total = np.square(layout - grand).sum()
    sums.append(total - sum(sums))
    degrees = [num_first - 1, num_second - 1, (num_first - 1) * (num_second - 1)]
    degrees += [num_first * num_second * (num_trials - 1)] if within else []
    degrees += [num_seeds - 1, (num_first * num_second * num_trials - 1) * (num_seeds - 1)]
    squares = np.maximum(sums, 0)  # a difference of equal sums may be below by its last bits
    differs = total > ROUNDING * np.square(layout).sum()
    shares = squares / total if differs else np.full(len(squares), np.nan)
    return _table(sources, list(squares), degrees, list(shares))


def _table(
    sources: list[str], squares: Sequence[float], degrees: Sequence[object], shares: Sequence[float]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": sources,
            "sum_of_squares": squares,
            "degrees_of_freedom": pd.array(degrees, dtype="Int64"),
            "share": shares,
        }
    )


def _layout(replicas: pd.DataFrame, factors: tuple[str, str], within: str | None, metric: str) -> np.ndarray | None:
    """Return the metric, (first, second, trials, seeds), trials numbered anew in each cell; None if unbalanced."""
    table = replicas[[*factors, "seed", metric]].assign(trial=0 if within is None else replicas[within])
    table["trial"] = table.groupby(list(factors))["trial"].rank(method="dense")
    columns = [*factors, "trial", "seed"]
    shape = tuple(table[column].nunique() for column in columns)
    doubled, gaps = table.duplicated(columns).any(), len(table) != np.prod(shape)
    if doubled or gaps or shape[-1] < 2 or not np.isfinite(table[metric]).all():
        return None
    return table.sort_values(columns)[metric].to_numpy(dtype=float).reshape(shape)
