"""The figures of a report: each call draws one figure for each data set, or says in a line why there is none."""

import math
from collections.abc import Callable
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from nnbench.analysis import plots
from nnbench.analysis.ranks import rank_methods
from nnbench.report.results import Paragraph, Results

MOST_IN_ONE = 8  # cells whose curves share a figure; more are drawn optimizer by optimizer
WIDTH = 8  # inches


def accuracies(results: Results) -> None:
    """Draw each seed and each mean with its interval."""
    for dataset in results.datasets:
        board = results.board(dataset)
        plots.accuracy_points(results.of(dataset, "replicas"), board, _axes(1.2 + 0.42 * len(board)))


def heatmap(results: Results) -> Paragraph | None:
    """Draw the mean accuracy of each optimizer with each activation; cells like the best one have a frame."""
    drawn = False
    for dataset in results.datasets:
        replicas = results.of(dataset, "replicas")
        if min(replicas["optimizer"].nunique(), replicas["activation"].nunique()) > 1:
            ax = _axes(1.6 + 0.75 * replicas["optimizer"].nunique())
            plots.heatmap(replicas, results.board(dataset), results.pairs(dataset), ax)
            drawn = True
    return None if drawn else Paragraph("There is no grid of several optimizers and several activations.")


def differences(results: Results) -> Paragraph | None:
    """Draw the leader against each other cell: mean paired difference with its interval."""
    if len(results.replicas["cell"].unique()) == len(results.datasets):
        return Paragraph("There is no second cell to compare with.")
    for dataset in results.datasets:
        leader, pairs = str(results.board(dataset)["cell"].iloc[0]), results.pairs(dataset)
        if len(pairs):
            ax = _axes(1.6 + 0.35 * len(results.board(dataset)))
            plots.paired_differences(results.of(dataset, "replicas"), pairs, ax, cell=leader)
    return None


def ranks(results: Results) -> Paragraph | None:
    """Draw the mean ranks of 4 to 8 optimizers; those that a bar joins cannot be told apart."""
    reasons = []
    for dataset in results.datasets:
        try:
            ranking = rank_methods(results.of(dataset, "replicas"), by="optimizer", over="activation")
        except ValueError as error:
            reasons.append(str(error))
        else:
            plots.critical_differences(ranking, _axes(2.6))
    return Paragraph(f"No ranks: {reasons[0]}.") if len(reasons) == len(results.datasets) else None


def learning_curves(results: Results, metric: str = "val/accuracy", against: str = "epoch") -> None:
    """Draw a metric over epochs, train/gradient_evaluations or time/train_seconds: mean and spread over seeds."""
    for dataset in results.datasets:
        _panels(results.of(dataset, "history"), partial(plots.learning_curves, metric=metric, against=against))


def time_to_target(results: Results, metric: str = "val/target_epoch") -> Paragraph | None:
    """Draw the share of seeds that have met `target_accuracy` on validation, over time."""
    if metric not in results.replicas:
        return Paragraph("No target was set; target_accuracy=0.95 records when validation first meets it.")
    for dataset in results.datasets:
        _panels(results.of(dataset, "replicas"), partial(plots.time_to_target, metric=metric))
    return None


def learning_rates(results: Results) -> Paragraph | None:
    """Draw validation accuracy against learning rate over the trials of tuning; the chosen rate is marked."""
    if "learning_rate" not in results.tuning:
        return Paragraph("No learning rate was tuned.")
    chosen = results.chosen_rates()
    for dataset in results.tuning["dataset"].unique():
        _panels(results.of(dataset, "tuning"), partial(plots.learning_rates, chosen=chosen))
    return None


def price_of_tuning(results: Results) -> Paragraph | None:
    """Draw what tuning gained: an arrow from the untuned to the tuned mean of each cell."""
    if not len(results.untuned):
        return Paragraph("Nothing was tuned: every cell ran with the hyperparameters of its configuration.")
    for dataset in results.untuned["dataset"].unique():
        untuned = results.of(dataset, "untuned")
        ax = _axes(1.6 + 0.35 * untuned["cell"].nunique())
        plots.price_of_tuning(results.of(dataset, "replicas"), untuned, ax)
    return None


def layers(results: Results, cell: str | None = None) -> Paragraph | None:
    """Draw gradients and idle units of each layer of a cell, by default of the best one on each data set."""
    reasons = []
    for name in results.best if cell is None else [cell]:
        history = results.history[results.history["cell"] == name].dropna(axis="columns", how="all")
        draws: list[Callable[[pd.DataFrame, Axes], Axes]] = [plots.gradient_flow, plots.idle_units]
        _, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained")
        for ax, draw in zip(axes, draws, strict=True):
            try:
                draw(history, ax).set_title(plots.plain(name))
            except ValueError as error:
                ax.remove()
                reasons.append(f"{name}: {error}.")
    return Paragraph(" ".join(reasons)) if reasons else None


def confusion_matrix(results: Results, cell: str | None = None) -> None:
    """Draw a cell's confusion matrix, by default that of the best cell on each data set."""
    for name in results.best if cell is None else [cell]:
        _, ax = plt.subplots(figsize=(6, 5), layout="constrained")
        plots.confusion_matrix(results.confusion[name], ax).set_title(plots.plain(name))


def _axes(height: float) -> Axes:
    _, ax = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    return ax


def _panels(table: pd.DataFrame, draw: Callable[[pd.DataFrame, Axes], Axes]) -> None:
    """Draw all cells on one pair of axes, or, where they are many, optimizer by optimizer."""
    num_optimizers = table["optimizer"].nunique()
    if table["cell"].nunique() <= MOST_IN_ONE or num_optimizers == 1:
        draw(table, _axes(4.5))
        return
    num_rows = math.ceil(num_optimizers / 2)
    size = (WIDTH + 2, 2.6 * num_rows + 0.6)
    _, axes = plt.subplots(num_rows, 2, sharex=True, sharey=True, squeeze=False, figsize=size, layout="constrained")
    plots.small_multiples(table, axes, draw)
