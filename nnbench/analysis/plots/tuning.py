"""What tuning saw, and what it was worth."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nnbench.analysis.plots.look import (
    begin_at,
    colour_by_optimizer,
    label,
    legend_beside,
    lowest_shown,
    mark_mean,
    marker_by_optimizer,
    name_rows,
    names_of,
    style_by_cell,
)
from nnbench.analysis.statistics import bootstrap_intervals

SCORE = "val/selected_accuracy"
SIGNS = ("chosen", "diverged seed")  # come last in a legend


def learning_rates(tuning: pd.DataFrame, ax: Axes, *, chosen: Mapping[str, float] | None = None) -> Axes:
    """Draw validation accuracy against learning rate, one line for each cell: mean and one standard deviation.

    `tuning` has one row for each training of a search: cell, optimizer, activation, trial, learning_rate, seed, status,
    val/selected_accuracy. A cross is a diverged seed at the chance level that it was given; a ring is the chosen
    learning rate, by default that of the highest mean (tuning itself looks at the loss where means are equal, so pass
    what it chose). Where trials differ in more than the learning rate, points are not joined.
    """
    styles = style_by_cell(tuning)
    any_diverged = False
    several = _other_hyperparameters(tuning)
    for cell, style in styles.items():
        of_cell = tuning[tuning["cell"] == cell]
        by_trial = of_cell.groupby("trial").agg(
            rate=("learning_rate", "first"), mean=(SCORE, "mean"), spread=(SCORE, "std")
        )
        by_trial = by_trial.sort_values("rate").fillna({"spread": 0.0})
        rates, means, spreads = by_trial["rate"], 100 * by_trial["mean"], 100 * by_trial["spread"]
        line = {**style, "linestyle": ""} if several else style
        ax.errorbar(rates, means, yerr=spreads, label=label(cell), elinewidth=1, capsize=2, **line)
        diverged = of_cell[of_cell["status"] == "diverged"]
        any_diverged |= len(diverged) > 0
        ax.plot(diverged["learning_rate"], 100 * diverged[SCORE], "x", color=style["color"], markersize=8)
        rate = (chosen or {}).get(cell, rates.iloc[int(means.argmax())])
        at = means[np.isclose(rates, rate)]
        if len(at):
            ax.plot(rate, at.max(), "o", markersize=13, markerfacecolor="none", color="black", markeredgewidth=1.5)
    ax.set_xscale("log")
    ax.set(xlabel="learning rate", ylabel="validation accuracy (%)\n(mean ± 1 sd over tuning seeds)")
    ax.grid(alpha=0.3)
    ax.plot([], [], "o", markersize=10, markerfacecolor="none", color="black", label="chosen")
    if any_diverged:
        ax.plot([], [], "x", color="black", label="diverged seed")
    handles, _ = ax.get_legend_handles_labels()
    legend_beside(ax, handles=sorted(handles, key=lambda handle: handle.get_label() in SIGNS))
    return ax


def price_of_tuning(tuned: pd.DataFrame, untuned: pd.DataFrame, ax: Axes) -> Axes:
    """Draw what tuning gained: an arrow from the untuned to the tuned mean of each cell, with their 95 % intervals.

    Both tables have one row for each final replica: cell, optimizer, seed, test/accuracy. Cells that only one of them
    has are left out. The best tuned cell is on top; a mean far below the others is an arrow at the edge with its
    number.
    """
    optimizers = names_of(tuned["optimizer"])
    colours, markers = colour_by_optimizer(optimizers), marker_by_optimizer(optimizers)
    optimizer_by_cell = dict(zip(tuned["cell"], tuned["optimizer"], strict=True))
    after = tuned[tuned["cell"].isin(untuned["cell"])].groupby("cell", sort=False)["test/accuracy"].mean()
    cells = list(after.sort_values(ascending=False, kind="stable").index)
    seeds = 100 * pd.concat([table.loc[table["cell"].isin(cells), "test/accuracy"] for table in (untuned, tuned)])
    edge = lowest_shown(seeds.to_numpy())
    intervals = [_intervals(table[table["cell"].isin(cells)]) for table in (untuned, tuned)]
    for place, cell in enumerate(cells):
        colour, marker = colours[optimizer_by_cell[cell]], markers[optimizer_by_cell[cell]]
        ends = []
        for of_table, height, face in zip(intervals, (place + 0.16, place - 0.16), ("white", colour), strict=True):
            mean, low, high = of_table.loc[cell]
            ax.plot([low, high], [height, height], color=colour, linewidth=2, alpha=0.6, solid_capstyle="butt")
            shown = mark_mean(ax, mean, height, edge, marker=marker, color=colour, markerfacecolor=face)
            ends.append((shown, height))
        arrow = {"arrowstyle": "->", "color": "black", "linewidth": 0.9, "shrinkA": 4, "shrinkB": 4}
        ax.annotate("", xy=ends[1], xytext=ends[0], arrowprops=arrow)
    name_rows(ax, cells)
    begin_at(ax, edge, seeds)
    ax.set(xlabel="test accuracy (%)\nmean and its 95 % interval over seeds", ylabel="")
    handles = [
        Line2D([], [], linestyle="", marker="o", color="black", markerfacecolor=face, label=name)
        for name, face in (("as configured", "white"), ("tuned", "black"))
    ]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize="small")
    return ax


def _intervals(replicas: pd.DataFrame) -> pd.DataFrame:
    """Return the mean test accuracy of each cell, in per cent, and the ends of its 95 % interval."""
    scores = [100 * part.to_numpy(dtype=float) for _, part in replicas.groupby("cell", sort=False)["test/accuracy"]]
    rows = pd.DataFrame(scores).to_numpy()  # a cell with fewer seeds than another lacks some
    low, high = bootstrap_intervals(rows)
    means = [values.mean() for values in scores]
    return pd.DataFrame({"mean": means, "low": low, "high": high}, index=replicas["cell"].unique())


def _other_hyperparameters(tuning: pd.DataFrame) -> bool:
    """Return whether trials of some cell differ in the learning rate and in something else, as in a random search."""
    by_rate = tuning.groupby(["cell", "trial"])["learning_rate"].first().reset_index()
    known = {"cell", "optimizer", "activation", "dataset", "trial", "extension", "learning_rate", "seed", "status"}
    others = [
        name
        for name in tuning
        if name not in known and "/" not in name and name not in ("gradient_evaluations", "seconds")
    ]
    varies = any(tuning.groupby("cell")[name].nunique().max() > 1 for name in others)
    return varies or bool(by_rate.duplicated(["cell", "learning_rate"]).any())
