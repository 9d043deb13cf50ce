"""Tables of results.

`replicas` has one row for each replica: `cell` (the label), `optimizer`, `activation`, `seed`, `status` and its
metrics.
"""

import numpy as np
import pandas as pd

from nnbench.analysis.comparison import common_scores
from nnbench.analysis.statistics import bootstrap_intervals, interquartile_interval, interquartile_mean


def leaderboard(replicas: pd.DataFrame, *, metric: str = "test/accuracy") -> pd.DataFrame:
    """Return one row for each cell, best mean first: mean and 95 % interval over seeds, seeds, diverged seeds.

    Diverged replicas count with the score at chance level that they were given; cells without any other come last,
    whatever that level is. Columns: cell, mean, low, high, seeds,
    diverged, val_accuracy.
    """
    groups = replicas.groupby("cell", sort=False, observed=True)
    scores = np.full((groups.ngroups, groups.size().max()), np.nan)  # (cells, seeds)
    scores[groups.ngroup(), groups.cumcount()] = replicas[metric]
    lows, highs = bootstrap_intervals(scores)
    rows = []
    for place, (cell, group) in enumerate(groups):
        rows.append(
            {
                "cell": cell,
                "mean": group[metric].mean(),
                "low": lows[place],
                "high": highs[place],
                "seeds": len(group),
                "diverged": int((group["status"] == "diverged").sum()),
                "val_accuracy": group["val/selected_accuracy"].mean(),
            }
        )
    board = pd.DataFrame(rows)
    board["all diverged"] = board["diverged"] == board["seeds"]
    in_order = board.sort_values(["all diverged", "mean"], ascending=[True, False], ignore_index=True)  # stable
    return in_order.drop(columns="all diverged")


def interquartile_means(
    replicas: pd.DataFrame, *, by: str = "optimizer", over: str = "activation", metric: str = "test/accuracy"
) -> pd.DataFrame:
    """Return one row for each optimizer, best first: the mean of the middle half of its scores, over all activations.

    Counted are the activations that every optimizer has, over the seeds that have all of them. Columns: `by`;
    `interquartile_mean` with its 95 % bootstrap interval over seeds, `low` to `high`; `seeds`; `cells`, the number of
    activations. `by="cell", over="dataset"` has a row for each cell. Raises ValueError as `compare` does.
    """
    scores = common_scores(replicas, by=by, over=over, metric=metric)
    num_seeds = len(scores.index.get_level_values("seed").unique())
    rows = []
    for method in scores.columns:
        by_seed = scores[method].to_numpy().reshape(-1, max(num_seeds, 1))  # (cells, seeds)
        low, high = interquartile_interval(by_seed)
        rows.append(
            {
                by: method,
                "interquartile_mean": float(interquartile_mean(by_seed.ravel())),
                "low": low,
                "high": high,
                "seeds": num_seeds,
                "cells": len(by_seed),
            }
        )
    table = pd.DataFrame(rows, columns=[by, "interquartile_mean", "low", "high", "seeds", "cells"])
    return table.sort_values("interquartile_mean", ascending=False, kind="stable", ignore_index=True)
