"""Small multiples: one panel for each optimizer or activation, where one plot would be too full."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from nnbench.analysis.plots.look import label, legend_beside, names_of, plain, style_by_method

OTHER = {"optimizer": "activation", "activation": "optimizer"}


def small_multiples(
    table: pd.DataFrame, axes: NDArray, draw: Callable[[pd.DataFrame, Axes], Axes], *, by: str = "optimizer"
) -> NDArray:
    """Draw the cells of each optimizer on a panel of their own, or of each activation if that is what `by` says.

    `axes` is the array of `subplots(rows, columns, sharex=True, sharey=True)` with at least as many axes as there are
    optimizers; what is left over has the legend or is switched off. `draw` is any plot of cells that takes a table
    with the columns cell, optimizer and activation, as `learning_curves`, `time_to_target` and `learning_rates` do.
    Where optimizer and activation tell the cells apart, those of a panel are called by the other of both alone. Raises
    ValueError for too few axes.
    """
    grid = np.atleast_2d(axes)
    names, panels, other = list(table[by].unique()), list(grid.ravel()), OTHER[by]
    if len(names) > len(panels):
        raise ValueError(f"there are {len(panels)} axes for {len(names)} panels; give one for each {by}")
    # A part of a categorical column knows the names of the whole, on which colours and line styles depend.
    table = table.assign(**{column: pd.Categorical(table[column], names_of(table[column])) for column in OTHER})
    told_apart = table.groupby([by, other], observed=True)["cell"].nunique().max() == 1
    for place, (name, ax) in enumerate(zip(names, panels, strict=False)):
        part = table[table[by] == name]
        draw(part.assign(cell=part[other].astype(object)) if told_apart else part, ax)
        ax.set_title(label(name), fontsize="medium")
        _number_outside(ax, panels[0], left=place % grid.shape[1] == 0, bottom=place + grid.shape[1] >= len(names))
    # The labels of axes are long, and the same for all.
    figure = panels[0].get_figure(root=False)
    figure.supxlabel(panels[0].get_xlabel(), fontsize="medium")
    figure.supylabel(panels[0].get_ylabel(), fontsize="medium", ma="center")
    for ax in panels[: len(names)]:
        ax.set(xlabel="", ylabel="")
    for ax in panels[len(names) :]:
        ax.set_axis_off()
    _legend(panels, len(names), grid.shape[1], names_of(table[other]), other)
    return axes


def _number_outside(ax: Axes, first: Axes, *, left: bool, bottom: bool) -> None:
    """Keep the numbers of shared axes at the left and at the bottom of what is filled."""
    if ax.get_shared_x_axes().joined(ax, first):
        ax.tick_params(axis="x", labelbottom=bottom)
    if ax.get_shared_y_axes().joined(ax, first):
        ax.tick_params(axis="y", labelleft=left)


def _legend(panels: list[Axes], num_panels: int, num_columns: int, names: list[str], other: str) -> None:
    """Put one legend beside all panels if it holds for each of them, or else one into each."""
    filled = panels[:num_panels]
    handles_by_label = {
        text: handle for ax in filled for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    name_by_label = {label(name): name for name in names}
    # Beside the cells there may be signs that are the same in every panel, in black.
    signs = [
        handle
        for text, handle in handles_by_label.items()
        if text not in name_by_label and isinstance(handle, Line2D) and handle.get_color() == "black"
    ]
    if handles_by_label.keys() <= {*name_by_label, *(sign.get_label() for sign in signs)}:
        for ax in filled:
            legend = ax.get_legend()
            if legend:
                legend.remove()
        styles = style_by_method(names, other)
        shown = [text for text in name_by_label if text in handles_by_label]
        handles = [Line2D([], [], label=text, **styles[name_by_label[text]]) for text in shown] + signs
        if num_panels < len(panels):
            panels[-1].legend(handles=handles, loc="center", title=plain(other), handlelength=3, frameon=False)
        else:
            legend_beside(panels[num_columns - 1], handles=handles, title=plain(other))
        return
    for ax in filled:
        if ax.get_legend():
            ax.legend(fontsize="x-small", handlelength=3, framealpha=0.7)
