"""What a network is worth: the models that need no tuning beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from nnbench.analysis.plots.look import (
    begin_at,
    colour_by_optimizer,
    lowest_shown,
    mark_mean,
    marker_by_optimizer,
    name_rows,
    names_of,
)
from nnbench.analysis.statistics import bootstrap_intervals

GREY = "0.45"
BASELINE: dict[str, Any] = {"marker": "o", "color": GREY, "markerfacecolor": "white", "markeredgewidth": 1.5}


def baselines(networks: pd.DataFrame, baselines: pd.DataFrame, ax: Axes, *, cells: Sequence[str]) -> Axes:
    """Draw the test accuracy of some cells and of every baseline, highest mean on top.

    Both tables have one row for each replica: cell (for a baseline the name of its model), seed, test/accuracy, and
    networks their optimizer. Networks are full markers in the colour of their optimizer, baselines are empty and grey.
    Where seeds differ each one is a small point, and the mean has its 95 % interval; a model that draws nothing is one
    marker. What lies far below the others is an arrow at the edge with its number.
    """
    optimizers = names_of(networks["optimizer"])
    colours, markers = colour_by_optimizer(optimizers), marker_by_optimizer(optimizers)
    optimizer_by_cell = dict(zip(networks["cell"], networks["optimizer"], strict=True))
    rows: list[tuple[str, NDArray, dict[str, Any]]] = []  # name, scores in per cent, style
    for cell in cells:
        optimizer = optimizer_by_cell[cell]
        style: dict[str, Any] = {"marker": markers[optimizer], "color": colours[optimizer], "markeredgecolor": "black"}
        rows.append((cell, _scores(networks, cell), style))
    rows += [(str(name), _scores(baselines, name), BASELINE) for name in baselines["cell"].unique()]
    rows.sort(key=lambda row: -row[1].mean())
    everything = np.concatenate([scores if np.ptp(scores) > 0 else scores[:1] for _, scores, _ in rows])
    edge = lowest_shown(everything)
    for place, (_, scores, style) in enumerate(rows):
        if np.ptp(scores) > 0:
            low, high = (float(end[0]) for end in bootstrap_intervals(scores[np.newaxis]))
            ax.plot([low, high], [place, place], color=style["color"], linewidth=3, solid_capstyle="butt")
            for seen, marker in ((scores >= edge, "o"), (scores < edge, "<")):
                ax.scatter(
                    scores[seen].clip(min=edge), [place + 0.22] * seen.sum(), color=style["color"], marker=marker,
                    alpha=0.45, s=14, linewidths=0,
                )  # fmt: skip
        mark_mean(ax, float(scores.mean()), place, edge, linestyle="", **style)
    name_rows(ax, [name for name, _, _ in rows])
    begin_at(ax, edge, pd.Series(everything))
    ax.set(xlabel="test accuracy (%)\nlarge: mean and its 95 % interval over seeds; small: one seed", ylabel="")
    handles = [
        Line2D([], [], linestyle="", marker="o", color="black", label="network"),
        Line2D([], [], linestyle="", label="baseline", **BASELINE),
    ]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize="small")
    return ax


def _scores(replicas: pd.DataFrame, cell: str) -> NDArray:
    """Return the scores of a cell in per cent, (seeds,)."""
    return 100 * replicas.loc[replicas["cell"] == cell, "test/accuracy"].to_numpy(dtype=float)
