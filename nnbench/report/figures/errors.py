"""Errors: what is taken for what, the images that are missed most often, whether confidence can be believed."""

import math

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from nnbench.analysis import plots
from nnbench.report import cells
from nnbench.report.display import Paragraph
from nnbench.report.figures.canvas import WIDTH, axes, drawn_once, heading, sentences
from nnbench.report.results import Results
from nnbench.report.tables.errors import MOST_SAMPLES, missed_by

MOST_CALIBRATED = 4  # reliability curves on one pair of axes
COLUMNS = 6  # of images


@drawn_once
def confusion(results: Results) -> Paragraph | None:
    """Draw for each data set the best network, the worst one, the best baseline, and where the best one differs."""
    reasons = []
    for dataset in results.datasets:
        best, worst, baseline = results.leader(dataset), _worst(results, dataset), results.best_baseline(dataset)
        parts = [(best, "the best network"), (worst, "the worst network"), (baseline, "the best baseline")]
        named = [(cell, words) for cell, words in parts if cell is not None and _counted(results, cell)]
        if not _counted(results, best):
            reasons.append(f"The best network on {dataset}, {best}, has no confusion matrix: it has predicted nothing.")
        if not named:
            continue
        other = next((cell for cell in (baseline, worst) if cell is not None and _alike(results, best, cell)), None)
        num_panels = len(named) + (other is not None)
        size = 5.2  # inches of a panel
        num_columns = min(num_panels, 2)
        num_rows = math.ceil(num_panels / num_columns)
        _, grid = plt.subplots(
            num_rows,
            num_columns,
            squeeze=False,
            figsize=(size * num_columns, 0.88 * size * num_rows),
            layout="constrained",
        )
        places = list(grid.ravel())
        for (cell, words), ax in zip(named, places, strict=False):
            plots.confusion_matrix(results.confusion[cell], ax).set_title(_title(cell, words), fontsize="medium")
        if other is not None:
            ax = places[len(named)]
            plots.confusion_difference(results.confusion[best], results.confusion[other], ax)
            ax.set_title(plots.plain(f"{best}\nminus {other}"), fontsize="medium")
        for ax in places[num_panels:]:
            ax.remove()
    return sentences(*reasons)


@drawn_once
def confusion_matrix(results: Results, cell: str) -> Paragraph | None:
    """Draw the confusion matrix of one cell or baseline; raises ValueError for a name that neither has."""
    cells.checked_with_baselines(results, cell)
    if not _counted(results, cell):
        return Paragraph(f"{cell} has no confusion matrix: it has predicted nothing.")
    plots.confusion_matrix(results.confusion[cell], axes(6)).set_title(plots.plain(cell))
    return None


@drawn_once
def missed_images(results: Results) -> None:
    """Draw the test images that were missed most often: by the best network, and by all if there are several."""
    for dataset in results.datasets:
        several = len(results.board(dataset)) > 1
        for cell in (results.leader(dataset), None) if several else (results.leader(dataset),):
            rows = missed_by(results, dataset, cell)
            images = _images(results, dataset)
            rows = rows[[sample in images for sample in rows["sample"]]].head(MOST_SAMPLES) if len(rows) else rows
            if not len(rows):
                continue
            num_rows = math.ceil(len(rows) / COLUMNS)
            figure, grid = plt.subplots(
                num_rows, COLUMNS, squeeze=False, figsize=(WIDTH + 1, 1.9 * num_rows + 0.4), layout="constrained"
            )
            plots.missed_images(np.stack([images[sample] for sample in rows["sample"]]), rows, grid)
            figure.suptitle(plots.plain(f"{dataset}: missed most often by {cell or 'all networks together'}"))


@drawn_once
def calibration(results: Results, *names: str) -> Paragraph | None:
    """Draw how often the best networks and the best baseline (or given cells) are right against how sure they were.

    Raises ValueError for a name that no network or baseline has.
    """
    on_record = set(results.calibration["cell"])
    silent = [name for name in names if cells.checked_with_baselines(results, name) not in on_record]
    reasons = [f"{name} has no probabilities on record." for name in silent]
    for dataset in results.datasets:
        bins = results.of(dataset, "calibration")
        with_bins = set(bins["cell"])
        chosen = [cell for cell in names or results.board(dataset)["cell"] if cell in with_bins]
        if not names:
            baselines = [cell for cell in results.baseline_board(dataset)["cell"] if cell in with_bins][:1]
            chosen = [*chosen[: MOST_CALIBRATED - len(baselines)], *baselines]
        if not chosen:
            continue
        if not names and not set(chosen) & set(results.board(dataset)["cell"]):
            reasons.append(f"No network on {dataset} has probabilities on record.")
            continue
        shown = bins[bins["cell"].isin(chosen)]
        points = set(plots.reliability_points(shown)["cell"])
        if points & set(names or results.board(dataset)["cell"]):  # a baseline alone says nothing of networks
            plots.reliability(shown, axes(5, heading(results, dataset)))
        else:
            reasons.append(f"The test split of {dataset} has too few samples to draw the calibration of networks.")
    return sentences(*reasons)


def _alike(results: Results, first: str, second: str) -> bool:
    """Whether the confusion matrices of two cells have the same classes, as they have unless their data differ."""
    if not (_counted(results, first) and _counted(results, second)):
        return False
    return list(results.confusion[first].index) == list(results.confusion[second].index)


def _counted(results: Results, cell: str) -> bool:
    """Whether a cell has predicted something, as it has unless all its seeds diverged."""
    return cell in results.confusion and bool(results.confusion[cell].to_numpy().sum() > 0)


def _worst(results: Results, dataset: str) -> str | None:
    """Return the network with the lowest mean among those of which no seed diverged; None if that is the best one."""
    whole = results.board(dataset).query("diverged == 0")["cell"]
    return str(whole.iloc[-1]) if len(whole) and whole.iloc[-1] != results.leader(dataset) else None


def _images(results: Results, dataset: str) -> dict[int, NDArray]:
    """Return the images of a data set's test split that some network has missed, by their place in it."""
    first = results.leader(dataset)
    if first not in results.predictions:
        return {}
    labels = results.predictions[first].labels
    images: dict[int, NDArray] = {}
    for cell in results.board(dataset)["cell"]:
        said = results.predictions.get(cell)
        if said is not None and np.array_equal(said.labels, labels):
            images |= dict(zip(map(int, said.samples), said.images, strict=False))
    return images


def _title(cell: str | None, words: str) -> str:
    return plots.plain(f"{words}: {cell}")
