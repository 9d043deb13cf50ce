"""Curves over time: learning, time to target, and each optimizer's own beside its update rule."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnbench.analysis import plots, profiles
from nnbench.report import cells
from nnbench.report.display import Paragraph, Paragraphs, TextBesideFigure
from nnbench.report.figures.canvas import (
    axes,
    curves_of,
    detached,
    drawn_once,
    heading,
    note,
    of_drawn,
    panels,
    sentences,
)
from nnbench.report.results import Results


@drawn_once
def learning_curves(results: Results, metric: str = "val/accuracy", against: str = "epoch") -> Paragraph | None:
    """Draw a metric over epochs, train/gradient_evaluations or time/train_seconds: mean and spread over seeds."""
    drawn, reasons = [], []
    for dataset in results.datasets:
        history = of_drawn(results, dataset, curves_of(results, dataset))
        if plots.has_curve(history, metric=metric, against=against):
            panels(history, partial(plots.learning_curves, metric=metric, against=against), heading(results, dataset))
            drawn.append(dataset)
        else:
            reasons.append(
                f"There is no curve of {metric} over {against} on {dataset}: no network has it for all of its seeds, "
                "as where one diverged in the first epoch."
            )
    return sentences(*reasons, note(results, drawn))


@drawn_once
def time_to_target(results: Results, metric: str = "val/target_epoch") -> Paragraph | None:
    """Draw the share of seeds that have met `target_accuracy` on validation, over time."""
    if metric not in results.replicas:
        return None if metric == "val/target_epoch" else Paragraph(f"There is no {metric} on record.")
    for dataset in results.datasets:
        replicas = of_drawn(results, dataset, results.of(dataset, "replicas")).dropna(subset=metric)
        if len(replicas):  # some of these cells had a target
            panels(replicas, partial(plots.time_to_target, metric=metric), heading(results, dataset))
    return note(results)


@drawn_once
def profile(results: Results, by: str = "optimizer", metric: str = "val/target_epoch") -> Paragraph | None:
    """Draw how often each optimizer (or activation) is within a factor of the fastest one's time to the target."""
    if metric not in results.replicas:
        return None  # time_to_target has said so
    over = "activation" if by == "optimizer" else "optimizer"
    reasons, any_drawn = [], False
    for dataset in results.datasets:
        replicas = results.of(dataset, "replicas")
        if replicas[by].nunique() < 2:
            reasons.append(f"there is no second {by} on {dataset}")
            continue
        try:
            table = profiles.performance_profile(replicas, by=by, over=over, metric=metric)
        except ValueError as reason:
            reasons.append(str(reason))
        else:
            plots.profile(table, axes(4, heading(results, dataset)))
            any_drawn = True
    how = (
        f"At 1 a curve says how often the {by} was the fastest of all; at 2, how often it took at most twice as long "
        "as the fastest; at the right end, how often it met the target at all."
    )
    none = f"No performance profile: {'; '.join(reasons)}."
    return sentences(how if any_drawn else None, none if reasons else None)


def update_rules(results: Results, optimizer: str | None = None) -> Paragraph | Paragraphs:
    """Show the update rule of each optimizer (or of one) above its validation accuracy and training loss.

    The curves of all optimizers on a data set have one scale. Raises ValueError for an unknown optimizer.
    """
    shown = []
    axes_by_panel: dict[tuple[str, str], list[Axes]] = {}  # a panel is a metric on a data set
    known = results.replicas["optimizer"].unique()
    for name in known if optimizer is None else [cells.checked_optimizer(results, optimizer)]:
        rule = results.update_rules.get(name) or "Its class has no docstring."
        for dataset in results.datasets:
            history = curves_of(results, dataset)
            of_optimizer = of_drawn(results, dataset, history)
            of_optimizer = of_optimizer[of_optimizer["optimizer"] == name]
            if not len(of_optimizer):  # no cell of it is among the best
                of_optimizer = history[history["optimizer"] == name]
                of_optimizer = of_optimizer[of_optimizer["cell"] == _best_of(results, dataset, of_optimizer)]
            if not len(of_optimizer):
                continue
            title = f"{name} on {dataset}" if len(results.datasets) > 1 else str(name)
            figure, axes_by_metric = _two_curves(of_optimizer)
            shown.append(TextBesideFigure(title, rule, figure))
            rule = "The update rule is above."
            for metric, ax in axes_by_metric.items():
                axes_by_panel.setdefault((dataset, metric), []).append(ax)
    for (_, metric), alike in axes_by_panel.items():
        plots.on_one_scale(alike, metric=metric)
    return Paragraphs(tuple(shown)) if shown else Paragraph("No network has a result.")


def _best_of(results: Results, dataset: str, history: pd.DataFrame) -> str:
    board = results.board(dataset)
    names = board.loc[board["cell"].isin(history["cell"]), "cell"]
    return str(names.iloc[0]) if len(names) else ""


def _two_curves(history: pd.DataFrame) -> tuple[Figure | None, dict[str, Axes]]:
    """Return a figure of the metrics that have curves, if any has, and its axes by metric."""
    drawn = [name for name in ("val/accuracy", "train/loss") if plots.has_curve(history, metric=name)]
    if not drawn:
        return None, {}
    figure, axes = detached(len(drawn), 3)
    for metric, ax in zip(drawn, axes, strict=True):
        plots.learning_curves(history, ax, metric=metric)
    for ax in axes[:-1]:  # the last legend holds for all
        if legend := ax.get_legend():
            legend.remove()
    return figure, dict(zip(drawn, axes, strict=True))
