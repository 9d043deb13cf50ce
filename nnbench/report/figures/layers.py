"""What the layers of single cells show of themselves while they train."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from nnbench.analysis import plots
from nnbench.report.display import Paragraph
from nnbench.report.figures.canvas import WIDTH
from nnbench.report.results import Results


def layers(results: Results, cell: str | None = None) -> Paragraph | None:
    """Draw gradients and idle units of each layer of a cell, by default of the best and the sickest of a data set."""
    reasons = []
    for name, title in _chosen(results).items() if cell is None else [(cell, cell)]:
        history = results.history[results.history["cell"] == name].dropna(axis="columns", how="all")
        draws: list[Callable[[pd.DataFrame, Axes], Axes]] = [plots.gradient_flow, plots.idle_units]
        _, axes = plt.subplots(1, 2, figsize=(WIDTH + 2, 3.4), layout="constrained")
        for ax, draw in zip(axes, draws, strict=True):
            try:
                draw(history, ax).set_title(plots.plain(title), fontsize="medium")
            except ValueError as error:
                ax.remove()
                reasons.append(f"{name}: {error}.")
    return Paragraph(" ".join(dict.fromkeys(reasons))) if reasons else None


def _chosen(results: Results) -> dict[str, str]:
    """Return the titles of the cells to draw by their names."""
    titles = {}
    finding_by_cell = dict(zip(results.cells["cell"], results.cells["finding"], strict=True))
    for dataset in results.datasets:
        titles[results.leader(dataset)] = f"{results.leader(dataset)}: the best"
        sickest = results.sickest(dataset)
        if sickest is not None and sickest not in titles:
            titles[sickest] = f"{sickest}: {finding_by_cell[sickest]}"
    return titles
