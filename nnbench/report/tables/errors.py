"""Errors: the samples that are missed most often, and whether confidence can be believed."""

from dataclasses import replace

import numpy as np
import pandas as pd

from nnbench.analysis.calibration import calibration_errors
from nnbench.analysis.missed import most_missed
from nnbench.report import cells
from nnbench.report.display import Paragraph, Table, count, number, per_cent, text
from nnbench.report.results import Results
from nnbench.report.tables.parts import by_dataset, table

MOST_SAMPLES = 12
NOTHING_MISSED = "No sample of the test split was missed, or no predictions are on record."


def missed(results: Results, cell: str | None = None) -> Table | Paragraph:
    """Return the test samples that were missed most often by all networks together, or by one cell.

    Raises ValueError for a name that no network or baseline has.
    """
    columns = {
        "by": ("missed by", text),
        "sample": ("place in the test split", count),
        "true": ("is", text),
        "predicted": ("most often taken for", text),
        "missed": ("missed in", count),
        "trainings": ("of trainings", count),
    }
    with_cell = results.datasets if cell is None else _datasets_of(results, cells.checked_with_baselines(results, cell))
    rows = by_dataset(with_cell, lambda name: missed_by(results, name, cell))
    otherwise = NOTHING_MISSED if with_cell else "There is no network."
    shown = table("missed_samples", rows, columns, otherwise=otherwise)
    return replace(shown, most=MOST_SAMPLES, each="dataset") if isinstance(shown, Table) else shown


def missed_by(results: Results, dataset: str, cell: str | None) -> pd.DataFrame:
    """Return `nnbench.analysis.missed.most_missed` of a cell, or of all networks that saw the same test split."""
    first = cell or results.leader(dataset)
    if first not in results.predictions:
        return pd.DataFrame()
    labels = results.predictions[first].labels
    others = results.of(dataset, "replicas")["cell"].unique() if cell is None else [first]
    said = [results.predictions[name] for name in others if name in results.predictions]
    predicted = [part.predicted for part in said if np.array_equal(part.labels, labels)]
    rows = most_missed(labels, np.concatenate(predicted), list(results.confusion[first].index))
    return rows[rows["missed"] > 0].assign(by=cell or "all networks")


def _datasets_of(results: Results, cell: str) -> list[str]:
    rows = pd.concat([results.replicas[["cell", "dataset"]], results.baselines[["cell", "dataset"]]])
    return list(rows.loc[rows["cell"] == cell, "dataset"].unique())


def calibration(results: Results) -> Table | Paragraph:
    """Return the expected calibration error of each cell: mean and deviation over its seeds, smallest first."""

    def compute(dataset: str) -> pd.DataFrame:
        errors = calibration_errors(results.of(dataset, "calibration"))
        by_seed = errors.drop(columns="seed").groupby("cell", sort=False)
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
