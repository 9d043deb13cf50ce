"""Whether confidence can be believed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nnbench.analysis.calibration import calibration_error
from nnbench.analysis.plots.look import label, legend_beside, style_by_cell

FEWEST = 5  # samples of a bin, for each seed


def reliability(bins: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how often each cell is right against how sure it was, with the expected calibration error in the label.

    `bins` has the tables of `nnbench.analysis.calibration.reliability`, one for each replica: cell, optimizer,
    activation, seed, confidence, accuracy, count. A point is a bin, all seeds together; its bar is one standard
    deviation over seeds, its area grows with the samples in it. Bins with fewer than five samples for each seed are
    left out, as they say nothing; the axes begin where the points do. Below the diagonal a network is too sure.
    """
    ax.plot([0, 100], [0, 100], color="0.5", linewidth=1, label="as sure as right")
    lowest = 100.0
    for cell, style in style_by_cell(bins).items():
        of_cell = bins[(bins["cell"] == cell) & (bins["count"] > 0)]
        weighted = of_cell.assign(
            confidence=of_cell["confidence"] * of_cell["count"], accuracy=of_cell["accuracy"] * of_cell["count"]
        )
        together = weighted.groupby("bin_low")[["confidence", "accuracy", "count"]].sum()
        together = together[together["count"] >= FEWEST * of_cell["seed"].nunique()]
        confidence, accuracy = (100 * together[name] / together["count"] for name in ("confidence", "accuracy"))
        spread = 100 * of_cell.groupby("bin_low")["accuracy"].std().fillna(0).loc[together.index]
        errors = [100 * calibration_error(part) for _, part in of_cell.groupby("seed")]
        deviation = f" ± {np.std(errors, ddof=1):.1f}" if len(errors) > 1 else ""
        text = label(f"{cell}: {np.mean(errors):.1f}{deviation} %") if errors else label(f"{cell}: no result")
        lowest = min([lowest, *confidence, *(accuracy - spread)])
        line = {name: value for name, value in style.items() if not name.startswith("marker")}
        ax.errorbar(confidence, accuracy, yerr=spread, elinewidth=1, capsize=2, label=text, **line)
        ax.scatter(
            confidence, accuracy, s=8 + 80 * together["count"] / max(together["count"].sum(), 1),
            color=[style["color"]], marker=style["marker"],
        )  # fmt: skip
    edge = max(10 * (min(lowest, 90) // 10), 0)  # the same on both axes, so that the diagonal stays one
    ax.set(xlabel="confidence (%)", ylabel="accuracy (%)\n(± 1 sd over seeds)", xlim=(edge, 101), ylim=(edge, 101))
    ax.grid(alpha=0.3)
    legend_beside(ax, title="expected calibration error", title_fontsize="small", alignment="left")
    return ax
