"""Curves over time: learning, time to target, and each optimizer's own beside its update rule."""

from functools import partial

import pandas as pd

from nnbench.analysis import plots, profiles
from nnbench.report.display import Paragraph, Paragraphs, TextBesideFigure
from nnbench.report.figures.canvas import axes, detached, heading, note, of_drawn, panels
from nnbench.report.results import Results


def learning_curves(results: Results, metric: str = "val/accuracy", against: str = "epoch") -> Paragraph | None:
    """Draw a metric over epochs, train/gradient_evaluations or time/train_seconds: mean and spread over seeds."""
    for dataset in results.datasets:
        history = of_drawn(results, dataset, results.of(dataset, "history"))
        panels(history, partial(plots.learning_curves, metric=metric, against=against), heading(results, dataset))
    return note(results)


def time_to_target(results: Results, metric: str = "val/target_epoch") -> Paragraph | None:
    """Draw the share of seeds that have met `target_accuracy` on validation, over time."""
    if metric not in results.replicas:
        return None if metric == "val/target_epoch" else Paragraph(f"There is no {metric} on record.")
    for dataset in results.datasets:
        replicas = of_drawn(results, dataset, results.of(dataset, "replicas")).dropna(subset=metric)
        if len(replicas):  # some of these cells had a target
            panels(replicas, partial(plots.time_to_target, metric=metric), heading(results, dataset))
    return note(results)


def profile(results: Results, by: str = "optimizer", metric: str = "val/target_epoch") -> Paragraph | None:
    """Draw how often each optimizer (or activation) is within a factor of the fastest one's time to the target."""
    if metric not in results.replicas:
        return None  # time_to_target has said so
    over = "activation" if by == "optimizer" else "optimizer"
    reasons = []
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
    return Paragraph(f"No performance profile: {'; '.join(reasons)}.") if reasons else None


def update_rules(results: Results, optimizer: str | None = None) -> Paragraph | Paragraphs:
    """Show the update rule of each optimizer (or of one) above its training loss and validation accuracy."""
    shown = []
    for name in results.history["optimizer"].unique() if optimizer is None else [optimizer]:
        rule = results.update_rules.get(name) or "Its class has no docstring."
        for dataset in results.datasets:
            history = results.of(dataset, "history")
            of_optimizer = of_drawn(results, dataset, history)
            of_optimizer = of_optimizer[of_optimizer["optimizer"] == name]
            if not len(of_optimizer):  # no cell of it is among the best
                of_optimizer = history[history["optimizer"] == name]
                of_optimizer = of_optimizer[of_optimizer["cell"] == _best_of(results, dataset, of_optimizer)]
            if not len(of_optimizer):
                continue
            title = f"{name} on {dataset}" if len(results.datasets) > 1 else str(name)
            shown.append(TextBesideFigure(title, rule, _two_curves(of_optimizer)))
            rule = "The update rule is above."
    return Paragraphs(tuple(shown)) if shown else Paragraph("No network has a result.")


def _best_of(results: Results, dataset: str, history: pd.DataFrame) -> str:
    board = results.board(dataset)
    cells = board.loc[board["cell"].isin(history["cell"]), "cell"]
    return str(cells.iloc[0]) if len(cells) else ""


def _two_curves(history: pd.DataFrame):  # type: ignore[no-untyped-def]
    figure, (left, right) = detached(2, 3)
    plots.learning_curves(history, left, metric="train/loss")
    plots.learning_curves(history, right, metric="val/accuracy")
    legend = left.get_legend()
    if legend:
        legend.remove()  # the right one holds for both
    return figure
