"""The tables of a report: each call returns one for all data sets, or says in a line why there is none.

A table has full precision in `rows`, and rounded numbers where it is shown. To add one: a function in the file of its
topic, its name below, and a cell in `template.py`.
"""

import pandas as pd

from nnbench.report.display import Table
from nnbench.report.results import Results
from nnbench.report.tables.comparisons import (
    activations,
    comparisons,
    detectable_differences,
    optimizers,
    variance_shares,
)
from nnbench.report.tables.costs import price_of_tuning, time_to_target
from nnbench.report.tables.data import class_counts, data_sets
from nnbench.report.tables.errors import calibration, missed
from nnbench.report.tables.origin import coverage, environment, findings, runs
from nnbench.report.tables.reached import to_reach
from nnbench.report.tables.scores import against_baselines, baselines, interquartile_means, leaderboard

__all__ = [
    "activations",
    "against_baselines",
    "baselines",
    "calibration",
    "comparisons",
    "coverage",
    "data_sets",
    "detectable_differences",
    "environment",
    "everything",
    "findings",
    "interquartile_means",
    "leaderboard",
    "missed",
    "optimizers",
    "price_of_tuning",
    "runs",
    "time_to_target",
    "to_reach",
    "variance_shares",
]
SHOWN = (
    to_reach,
    leaderboard, baselines, data_sets, against_baselines, comparisons, optimizers, activations, interquartile_means,
    variance_shares, detectable_differences, time_to_target, price_of_tuning, missed, calibration, findings, coverage,
    environment, runs,
)  # fmt: skip


def everything(results: Results) -> dict[str, pd.DataFrame]:
    """Return every table of a report that has rows by its name, with all columns and full precision.

    Beside those that are shown: `replicas`, `baseline_replicas`, `untuned_replicas` and `tuning_trials`, one row for
    each training; `pairs`, every pair of networks that was compared; `calibration_bins`; `class_counts`, the samples of
    each class in each split; `confusion`, counts by data set, cell, true and predicted class.
    """
    tables = {}
    for show in SHOWN:
        table = show(results)
        if isinstance(table, Table):
            tables[table.name] = table.rows
    pairs = [results.pairs(name).assign(dataset=name) for name in results.datasets]
    tables |= {
        "pairs": pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(),
        "replicas": results.replicas,
        "baseline_replicas": results.baselines,
        "untuned_replicas": results.untuned,
        "tuning_trials": results.tuning,
        "calibration_bins": results.calibration,
        "class_counts": class_counts(results),
        "confusion": _confusion(results),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _confusion(results: Results) -> pd.DataFrame:
    """Return one row for each cell, true class and predicted class, with the count over all seeds."""
    parts = []
    for cell, counts in results.confusion.items():
        if not len(counts):
            continue
        numbers = counts.to_numpy()
        names = pd.MultiIndex.from_product([counts.index, counts.columns], names=["true_class", "predicted_class"])
        parts.append(pd.DataFrame({"count": numbers.ravel()}, index=names).reset_index().assign(cell=cell))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
