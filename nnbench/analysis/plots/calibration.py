"""Whether confidence can be believed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nnbench.analysis.calibration import calibration_errors
from nnbench.analysis.plots.look import label, legend_beside, style_by_cell

FEWEST = 5  # samples of a bin, for each seed
NO_BREAK = "\N{NO-BREAK SPACE}"  # at which no label goes on below


def reliability_points(bins: pd.DataFrame) -> pd.DataFrame:
    """Return what `reliability` draws: cell, bin_low, confidence, accuracy, spread and count, all seeds together.

    `spread` is one standard deviation of the accuracy over seeds. Bins with fewer than five samples for each seed of
    their cell are left out.
    """
    filled = bins[bins["count"] > 0]
    seeds = filled.groupby("cell", sort=False)["seed"].nunique()
    sums = (
        filled.assign(confidence=filled["confidence"] * filled["count"], right=filled["accuracy"] * filled["count"])
        .groupby(["cell", "bin_low"], sort=False)
        .agg(
            confidence=("confidence", "sum"), right=("right", "sum"), count=("count", "sum"), spread=("accuracy", "std")
        )
        .reset_index()
    )
    points = sums[sums["count"] >= FEWEST * sums["cell"].map(seeds)].sort_values(["cell", "bin_low"], kind="stable")
    points = points.assign(
        confidence=points["confidence"] / points["count"],
        accuracy=points["right"] / points["count"],
        spread=points["spread"].fillna(0),
    )
    return points[["cell", "bin_low", "confidence", "accuracy", "spread", "count"]].reset_index(drop=True)


def reliability(bins: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how often each cell is right against how sure it was, with the expected calibration error in the label.

    `bins` has the tables of `nnbench.analysis.calibration.reliability`, one for each replica: cell, optimizer,
    activation, seed, confidence, accuracy, count. A point is a bin, all seeds together; its bar is one standard
    deviation over seeds, its area grows with the samples in it. Bins with fewer than five samples for each seed are
    left out, as they say nothing; a cell without any other has no sign in the legend. The axes begin where the points
    do. Below the diagonal a network is too sure.
    """
    points = reliability_points(bins)
    errors = calibration_errors(bins).groupby("cell")["calibration_error"]
    ax.plot([0, 100], [0, 100], color="0.5", linewidth=1, label="as sure as right")
    lowest, silent = 100.0, []
    for cell, style in style_by_cell(bins).items():
        if cell not in errors.groups:
            silent += ax.plot([], [], linestyle="", label=label(f"{cell}: no result"))
            continue
        of_cell, of_seeds = points[points["cell"] == cell], 100 * errors.get_group(cell)
        deviation = f" ± {of_seeds.std():.1f}" if len(of_seeds) > 1 else ""
        number = f"{of_seeds.mean():.1f}{deviation} %".replace(" ", NO_BREAK)
        if not len(of_cell):
            silent += ax.plot([], [], linestyle="", label=label(f"{cell}: {number}, too few samples to draw"))
            continue
        confidence, accuracy, spread = (100 * of_cell[name] for name in ("confidence", "accuracy", "spread"))
        # No accuracy is below 0 or above 100 %, so no bar is, either.
        ends = np.minimum([spread, spread], [accuracy, 100 - accuracy])
        lowest = min([lowest, *confidence, *(accuracy - ends[0])])
        line = {name: value for name, value in style.items() if not name.startswith("marker")}
        ax.errorbar(
            confidence, accuracy, yerr=ends.clip(min=0), elinewidth=1, capsize=2, label=label(f"{cell}: {number}"),
            **line,
        )  # fmt: skip
        ax.scatter(
            confidence, accuracy, s=8 + 80 * of_cell["count"] / of_cell["count"].sum(), color=[style["color"]],
            marker=style["marker"],
        )  # fmt: skip
    edge = max(10 * (min(lowest - 1, 90) // 10), 0)  # the same on both axes, so that the diagonal stays one
    ax.set(xlabel="confidence (%)", ylabel="accuracy (%)\n(± 1 sd over seeds)", xlim=(edge, 102), ylim=(edge, 102))
    ax.grid(alpha=0.3)
    handles = sorted(ax.get_legend_handles_labels()[0], key=lambda handle: handle in silent)
    legend_beside(ax, handles=handles, title="expected calibration error", title_fontsize="small", alignment="left")
    return ax
