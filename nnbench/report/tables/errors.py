"""Errors: the samples that are missed most often, and whether confidence can be believed."""

from dataclasses import replace

import numpy as np
import pandas as pd

from nnbench.analysis.missed import most_missed
from nnbench.report.display import Paragraph, Table, count, number, per_cent, text
from nnbench.report.results import Results
from nnbench.report.tables.parts import by_dataset, table

MOST_SAMPLES = 12
NOTHING_MISSED = "No sample of the test split was missed, or no predictions are on record."


def missed(results: Results, cell: str | None = None) -> Table | Paragraph:
    """Return the test samples that were missed most often by all networks together, or by one."""
    columns = {
        "by": ("missed by", text),
        "sample": ("place in the test split", count),
        "true": ("is", text),
        "predicted": ("most often taken for", text),
        "missed": ("missed in", count),
        "trainings": ("of trainings", count),
    }
    with_cell = [name for name in results.datasets if cell is None or cell in set(results.board(name)["cell"])]
    rows = by_dataset(with_cell, lambda name: missed_by(results, name, cell))
    shown = table("missed_samples", rows, columns, otherwise=NOTHING_MISSED)
    return replace(shown, most=MOST_SAMPLES * len(with_cell)) if isinstance(shown, Table) else shown


def missed_by(results: Results, dataset: str, cell: str | None) -> pd.DataFrame:
    """Return `nnbench.analysis.predictions.most_missed` of a cell, or of all networks that saw the same test split."""
    first = cell or results.leader(dataset)
    if first not in results.predictions:
        return pd.DataFrame()
    labels = results.predictions[first].labels
    others = results.of(dataset, "replicas")["cell"].unique() if cell is None else [first]
    said = [results.predictions[name] for name in others if name in results.predictions]
    predicted = [part.predicted for part in said if np.array_equal(part.labels, labels)]
    rows = most_missed(labels, np.concatenate(predicted), list(results.confusion[first].index))
    return rows[rows["missed"] > 0].assign(by=cell or "all networks")


def calibration(results: Results) -> Table | Paragraph:
    """Return the expected calibration error of each cell: mean and deviation over its seeds, smallest first."""

    def compute(dataset: str) -> pd.DataFrame:
        bins = results.of(dataset, "calibration")
        bins = bins[bins["count"] > 0]
        # As `calibration_error` does for one seed, here for all at once: of many cells that is much faster.
        weighted = bins[["cell", "seed", "count"]].assign(
            calibration_error=(bins["accuracy"] - bins["confidence"]).abs() * bins["count"],
            confidence=bins["confidence"] * bins["count"],
            accuracy=bins["accuracy"] * bins["count"],
        )
        sums = weighted.groupby(["cell", "seed"], sort=False).sum()
        by_seed = sums.drop(columns="count").div(sums["count"], axis="index").groupby("cell", sort=False)
        rows = by_seed.mean().assign(
            deviation=by_seed["calibration_error"].std(), seeds=by_seed["calibration_error"].size()
        )
        return rows.sort_values("calibration_error", kind="stable").reset_index()

    columns = {
        "cell": ("cell", text),
        "calibration_error": ("expected calibration error (%)", per_cent),
        "deviation": ("± sd", lambda value: number(100 * value, "{:.2f}")),
        "confidence": ("mean confidence (%)", per_cent),
        "accuracy": ("accuracy (%)", per_cent),
        "seeds": ("seeds", count),
    }
    datasets = list(results.calibration["dataset"].unique())
    otherwise = "No probabilities are on record, so nothing can be said of calibration."
    return table("calibration", by_dataset(datasets, compute), columns, otherwise=otherwise)
