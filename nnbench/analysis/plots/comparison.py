"""Cells beside each other: their scores, the table of optimizers and activations, the leader's lead."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from nnbench.analysis.comparison import REGION
from nnbench.analysis.plots.look import (
    begin_at,
    colour_by_optimizer,
    label,
    lowest_shown,
    mark_mean,
    marker_by_optimizer,
    name_rows,
    names_of,
)
from nnbench.analysis.plots.squares import squares

LIGHT_BLUE = "#6baed6"  # on whose shades a black frame and black numbers are seen
FILLS = {"better": "full", "equivalent": "left", "cannot tell": "none"}  # how much of a marker, by verdict


def accuracy_points(replicas: pd.DataFrame, leaderboard: pd.DataFrame, ax: Axes) -> Axes:
    """Draw each seed's test accuracy as a point and each cell's mean with its 95 % interval, best cell on top.

    `replicas` and `leaderboard` are those of `nnbench.analysis.tables`; cells that are not in the leaderboard, as when
    it is cut off, are left out. What lies far below the others is an arrow at the edge, a mean with its number.
    """
    optimizers = names_of(replicas["optimizer"])
    colours, markers = colour_by_optimizer(optimizers), marker_by_optimizer(optimizers)
    optimizer_by_cell = dict(zip(replicas["cell"], replicas["optimizer"], strict=True))
    place_by_cell = {cell: place for place, cell in enumerate(leaderboard["cell"])}
    replicas = replicas[replicas["cell"].isin(place_by_cell)]
    scores = 100 * replicas["test/accuracy"]
    edge = lowest_shown(scores.to_numpy())
    heights = replicas["cell"].map(place_by_cell).astype(float) + 0.22
    seed_colours = np.array([colours[name] for name in replicas["optimizer"]])
    for rows, marker in ((scores >= edge, "o"), (scores < edge, "<")):
        ax.scatter(
            scores[rows].clip(lower=edge),
            heights[rows],
            c=seed_colours[rows],
            marker=marker,
            alpha=0.45,
            s=14,
            linewidths=0,
        )
    for place, row in enumerate(leaderboard.itertuples()):
        optimizer = optimizer_by_cell[row.cell]
        colour, marker = colours[optimizer], markers[optimizer]
        ax.plot([100 * row.low, 100 * row.high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        mark_mean(ax, 100 * row.mean, place, edge, marker=marker, color=colour, markeredgecolor="black")
    name_rows(ax, leaderboard["cell"])
    begin_at(ax, edge, scores)
    ax.set(xlabel="test accuracy (%)\nlarge: mean and its 95 % interval over seeds; small: one seed", ylabel="")
    return ax


def heatmap(replicas: pd.DataFrame, leaderboard: pd.DataFrame, pairs: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the mean test accuracy of each optimizer (row) with each activation (column), ± half its 95 % interval.

    The best cell has a solid frame; a dashed frame has what is equivalent to it or not told apart: all others that it
    is not better than. Of several cells with the same optimizer and activation the best is shown, and the number of
    them. All tables are of one data set: `replicas` and `leaderboard` those of `nnbench.analysis.tables`, `pairs` that
    of `nnbench.analysis.comparison.compare`.
    """
    choices = replicas[["cell", "optimizer", "activation"]].drop_duplicates()
    board = leaderboard.merge(choices, on="cell")  # best first
    best = board["cell"].iloc[0]
    worse = set(pairs.loc[(pairs["first"] == best) & (pairs["verdict"] == "better"), "second"])
    rows, columns = list(choices["optimizer"].unique()), list(choices["activation"].unique())
    means = pd.DataFrame(np.nan, index=[label(row) for row in rows], columns=[label(column) for column in columns])
    words = np.full(means.shape, "", dtype=object)
    for (optimizer, activation), alike in board.groupby(["optimizer", "activation"], sort=False, observed=True):
        row, column, shown = rows.index(optimizer), columns.index(activation), alike.iloc[0]
        means.iloc[row, column] = 100 * shown["mean"]
        words[row, column] = _words(shown, len(alike))
        if shown["cell"] not in worse:
            style = "-" if shown["cell"] == best else (0, (3, 2))
            ax.add_patch(
                Rectangle((column + 0.04, row + 0.04), 0.92, 0.92, fill=False, linestyle=style, linewidth=2, zorder=3)
            )
    lowest = lowest_shown(means.to_numpy())
    extend = "min" if (means < lowest).any(axis=None) else "neither"
    import seaborn as sns

    squares(
        means, ax, colours=sns.light_palette(LIGHT_BLUE, as_cmap=True), ends=(lowest, None), words=words, between=1,
        letters={"fontsize": "small", "color": "black"}, label="mean test accuracy (%)", extend=extend,
    )  # fmt: skip
    ax.set(xlabel="activation", ylabel="optimizer")
    ax.tick_params(axis="y", rotation=0)
    frames = [
        Patch(fill=False, linewidth=2, label="best"),
        Patch(fill=False, linewidth=2, linestyle=(0, (3, 2)), label="equivalent to it, or not told apart"),
    ]
    ax.legend(handles=frames, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize="small")
    return ax


def paired_differences(
    replicas: pd.DataFrame, pairs: pd.DataFrame, ax: Axes, *, cell: str, region: float = REGION
) -> Axes:
    """Draw by how much a cell leads each other one on equal seeds: mean and 95 % interval, smallest lead on top.

    The face of a marker is the verdict, which is corrected for the number of pairs; the intervals are not. The band is
    the region of practical equivalence. A lead far above the others is an arrow at the edge with its number. `pairs` is
    that of `nnbench.analysis.comparison.compare`, `replicas` names the optimizer of each cell. Pairs without equal
    seeds are left out.
    """
    optimizers = names_of(replicas["optimizer"])
    colours, markers = colour_by_optimizer(optimizers), marker_by_optimizer(optimizers)
    optimizer_by_cell = dict(zip(replicas["cell"], replicas["optimizer"], strict=True))
    rows = _leads(pairs, cell)
    edge = -lowest_shown(-100 * rows[["difference", "high"]].to_numpy())
    ax.axvspan(-100 * region, 100 * region, color="0.9", zorder=0)
    ax.axvline(0, color="black", linewidth=1)
    for place, row in enumerate(rows.itertuples()):
        optimizer = optimizer_by_cell[row.other]
        ax.plot([100 * row.low, 100 * row.high], [place, place], color=colours[optimizer], linewidth=2.5)
        mark_mean(
            ax, 100 * row.difference, place, edge, above=True, marker=markers[optimizer],
            **_face(row.verdict, colours[optimizer]),
        )  # fmt: skip
    name_rows(ax, rows["other"])
    if (100 * rows["high"] > edge).any():
        left = ax.get_xlim()[0]
        ax.set_xlim(left, edge + 0.03 * (edge - left))  # with room for an arrow
    ax.set(
        xlabel=f"lead of {label(cell)} on equal seeds (points of test accuracy)\nmean and its 95 % interval", ylabel=""
    )
    words = {"better": "told apart", "equivalent": f"equivalent, within {100 * region:g} points"}
    handles = [
        Line2D([], [], linestyle="", marker="o", label=words.get(verdict, verdict), **_face(verdict, "black"))
        for verdict in FILLS
    ]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize="small")
    return ax


def _face(verdict: str, colour: Any) -> dict[str, Any]:
    """Return a marker that is full, half full or empty; not see-through, as it stands on a line."""
    empty = FILLS[verdict] == "none"
    return {
        "color": colour,
        "markerfacecolor": "white" if empty else colour,
        "markerfacecoloralt": "white",
        "fillstyle": "full" if empty else FILLS[verdict],
        "markeredgewidth": 1.5,
    }


def _leads(pairs: pd.DataFrame, cell: str) -> pd.DataFrame:
    """Return one row for each other cell, seen from this one: other, difference, low, high, verdict."""
    ahead = pairs[pairs["first"] == cell].rename(columns={"second": "other"})
    behind = pairs[pairs["second"] == cell].rename(columns={"first": "other", "low": "high", "high": "low"})
    behind = behind.assign(**{name: -behind[name] for name in ("difference", "low", "high")})
    columns = ["other", "difference", "low", "high", "verdict"]
    rows = pd.concat([ahead[columns], behind[columns]] if len(behind) else [ahead[columns]])
    return rows.dropna(subset="difference").sort_values("difference", kind="stable", ignore_index=True)


def _words(row: pd.Series, num_alike: int) -> str:
    """Return what stands in a cell of the heatmap."""
    lines = [f"{100 * row['mean']:.2f}"]
    if row["seeds"] > 1:
        lines[0] += f" ± {50 * (row['high'] - row['low']):.2f}"
    if row["diverged"]:
        lines.append(f"{row['diverged']} of {row['seeds']} diverged")
    if num_alike > 1:
        lines.append(f"best of {num_alike}")
    return "\n".join(lines)
