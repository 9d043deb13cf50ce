"""Curves of replicas over time: metrics, and how many have met the target."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nnbench.analysis.plots.look import axis_label, factor, label, legend_beside, style_by_cell

LOSSES = ("/loss", "/objective")  # what a metric ends with that has no upper end
NUM_MARKERS = 6  # on a curve
WIDE = 100  # ratio of losses that needs a logarithmic axis
FAR = 1e6  # times the end of an axis
OUTLIER = 100  # times the upper quartile of losses: no longer shown


def learning_curves(history: pd.DataFrame, ax: Axes, *, metric: str = "val/accuracy", against: str = "epoch") -> Axes:
    """Draw one line for each cell: the mean of a metric over its seeds, with a band of one standard deviation.

    `history` has one row for each replica and epoch: cell, optimizer, activation, seed, epoch and the metrics. Cells
    that share optimizer and activation, and so colour and line style, are told apart by shade. A mean is over all
    seeds: where one has no value any more the line ends, with a cross, and the label says how many seeds did. A cell
    without a line is named in the legend, without a sign. `against` is epoch, train/gradient_evaluations or
    time/train_seconds; an epoch stands at the clock of its last seed, as those that have stopped before stay level. A
    column `status` may tell which seeds diverged, and so ended early. Losses that differ widely are on a logarithmic
    axis.
    """
    for place, (cell, style) in enumerate(style_by_cell(history).items()):
        of_cell = history[history["cell"] == cell]
        by_epoch = factor(metric) * of_cell.pivot_table(
            index="epoch", columns="seed", values=metric, dropna=False
        ).astype(float)
        mean, spread = by_epoch.mean(axis="columns", skipna=False), by_epoch.std(axis="columns").fillna(0)
        clock = mean.index if against == "epoch" else of_cell.groupby("epoch")[against].max()
        places = np.asarray(clock, dtype=float)
        ended = by_epoch.isna().any()
        if "status" in of_cell:  # accuracies of diverged seeds are scored, so they do not tell
            ended |= ended.index.isin(of_cell.loc[of_cell["status"] == "diverged", "seed"])
        missing = int(ended.sum())
        if not (np.isfinite(places) & mean.notna()).any():
            early = f": {missing} of {by_epoch.shape[1]} seeds end early" if missing else ""
            ax.plot([], [], linestyle="", label=label(f"{cell} (no curve{early})"))
            continue
        note = f" ({missing} of {by_epoch.shape[1]} seeds end early)" if missing else ""
        step = max(1, len(mean) // NUM_MARKERS)
        ax.plot(places, mean, label=label(f"{cell}{note}"), markevery=(place % step, step), **style)
        # What cannot be below 0 or above 100 % is not drawn there.
        lowest = -np.inf if (by_epoch < 0).any(axis=None) else 0
        low = (mean - spread).clip(lower=lowest)
        high = (mean + spread).clip(upper=100 if factor(metric) == 100 else np.inf)
        ax.fill_between(places, low, high, color=style["color"], alpha=0.15, linewidth=0)
        if missing:
            last = int(np.flatnonzero(mean.notna())[-1])
            ax.plot(places[last], mean.iloc[last], "x", color=style["color"], markersize=8, markeredgewidth=2)
    if metric.endswith(LOSSES):
        _fit_losses(ax.get_shared_y_axes().get_siblings(ax))
    ax.set(xlabel=axis_label(against), ylabel=f"{axis_label(metric)}\n(mean ± 1 sd over seeds)")
    ax.grid(alpha=0.3)
    legend_beside(ax)
    return ax


def has_curve(history: pd.DataFrame, *, metric: str, against: str = "epoch") -> bool:
    """Return whether `learning_curves` has a line to draw: an epoch in which all seeds of some cell have the metric.

    Where a column `status` says that all seeds of a cell diverged, a single epoch, which has the chance level of an
    accuracy, is no line.
    """
    if not len(history) or metric not in history or against not in history:
        return False
    if "status" in history:
        by_cell = history.groupby("cell")
        alive = by_cell["status"].agg(lambda statuses: (statuses != "diverged").any())
        several = by_cell["epoch"].max() > by_cell["epoch"].min()
        history = history[history["cell"].map(alive | several)]
    num_seeds = history.groupby("cell")["seed"].nunique()
    by_epoch = history.assign(clock=history[against]).groupby(["cell", "epoch"]).agg(
        seeds=(metric, "count"), clock=("clock", "max")
    )  # fmt: skip
    whole = by_epoch["seeds"] == by_epoch.index.get_level_values("cell").map(num_seeds)
    return bool((whole & np.isfinite(by_epoch["clock"].astype(float))).any())


def on_one_scale(axes: Sequence[Axes], *, metric: str) -> None:
    """Give the axes of several learning curves of a metric, perhaps of several figures, the same scale and limits."""
    if metric.endswith(LOSSES):
        for ax in axes:
            ax.set_yscale("linear")
            ax.autoscale(axis="y")
        _fit_losses(axes)
    lows, highs = zip(*(ax.get_ylim() for ax in axes), strict=True)
    for ax in axes:
        ax.set_ylim(min(lows), max(highs))


def time_to_target(replicas: pd.DataFrame, ax: Axes, *, metric: str = "val/target_epoch") -> Axes:
    """Draw the share of each cell's seeds that have met the target, over time; the label has the hit rate.

    `replicas` has one row for each replica: cell, optimizer, activation, seed and the time, infinite for a miss:
    val/target_epoch, val/target_gradient_evaluations or time/target_seconds.
    """
    finite = replicas.loc[np.isfinite(replicas[metric]), metric]
    end = 1.05 * finite.max() if len(finite) and finite.max() > 0 else 1.0
    beside = [
        other.get_xlim()[1] for other in ax.get_shared_x_axes().get_siblings(ax) if other is not ax and other.lines
    ]
    for cell, style in style_by_cell(replicas).items():
        times = replicas.loc[replicas["cell"] == cell, metric].to_numpy(dtype=float)
        met = np.sort(times[np.isfinite(times)])
        shares = 100 * np.arange(len(met) + 1) / len(times)
        ax.step(
            [0, *met, FAR * end],  # beyond any axis that is shared
            [*shares, shares[-1]],
            where="post",
            label=label(f"{cell}: {len(met)} of {len(times)}"),
            markevery=sorted(set(np.linspace(1, len(met), NUM_MARKERS).round().astype(int))) if len(met) else [],
            **style,
        )
    ax.set(xlabel=axis_label(metric), ylabel="seeds at the target (%)")
    ax.set(xlim=(0, max([end, *beside])), ylim=(-4, 104))
    ax.grid(alpha=0.3)
    legend_beside(ax, title="seeds that met it", title_fontsize="small", alignment="left")
    return ax


def _fit_losses(axes: Sequence[Axes]) -> None:
    """Choose logarithmic axes where losses differ widely, and leave out what explodes before it diverges.

    Axes that have one scale are fitted to all of their lines.
    """
    losses = np.concatenate([[], *(np.atleast_1d(line.get_ydata()) for ax in axes for line in ax.lines)]).astype(float)
    losses = losses[np.isfinite(losses) & (losses > 0)]
    if not len(losses):
        return
    highest = OUTLIER * np.quantile(losses, 0.75)
    shown = losses[losses <= highest]
    for ax in axes:
        if shown.max() / shown.min() > WIDE:
            ax.set_yscale("log")
            ax.set_ylim(bottom=shown.min() / 1.5)
        elif losses.max() > highest:
            ax.set_ylim(bottom=-0.05 * shown.max())
        if losses.max() > highest:
            ax.set_ylim(top=1.1 * shown.max())
