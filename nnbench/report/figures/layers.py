"""What the layers of single cells show of themselves while they train."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from nnbench.analysis import plots
from nnbench.report import cells
from nnbench.report.display import Paragraph
from nnbench.report.figures.canvas import WIDTH, drawn_once
from nnbench.report.results import Results


@drawn_once
def layers(results: Results, cell: str | None = None) -> Paragraph | None:
    """Draw gradients and idle units of each layer of a cell, by default of the best and the sickest of a data set.

    Raises ValueError for a name that no network has.
    """
    reasons = []
    chosen = _chosen(results) if cell is None else {cells.checked(results, cell): cell}
    for name, title in chosen.items():
        statuses = results.replicas.loc[results.replicas["cell"] == name, "status"]
        history = results.history[results.history["cell"] == name].dropna(axis="columns", how="all")
        if (statuses == "diverged").all() and not any(column.startswith("layer") for column in history):
            reasons.append(f"{name}: all seeds diverged in the first epoch, so no layer has anything to show.")
            continue
        draws: list[Callable[[pd.DataFrame, Axes], Axes]] = [plots.gradient_flow, plots.idle_units]
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH + 2, 3.4), layout="constrained")
        for ax, draw in zip(axes, draws, strict=True):
            try:
                draw(history, ax).set_title(plots.plain(title), fontsize="medium")
            except ValueError as error:
                ax.remove()
                reasons.append(f"{name}: {error}.")
        if not figure.axes:
            plt.close(figure)
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
