"""What plots have in common: colours, markers and line styles, safe labels, axis labels, legends.

seaborn is imported where it is used: it takes a second, and the picture that is in each record needs none of it.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.legend import Legend
from numpy.typing import NDArray

# seaborn's palette "colorblind"
COLOURS = [
    to_rgb(colour)
    for colour in (
        *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
        *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
    )
]
OPTIMIZERS = (
    "adam",
    "rmsprop",
    "momentum",
    "adagrad",
    "gd",
    "nesterov",
    "rprop",
    "adamw",
)  # the most distinct colours first
ACTIVATIONS = ("relu", "sigmoid", "tanh", "leaky_relu", "identity")
DASHES = ((), (4, 1.5), (1, 1), (3, 1, 1.5, 1), (5, 1, 1, 1, 1, 1))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
AXIS_LABELS = {
    "val/accuracy": "validation accuracy (%)",
    "val/loss": "validation loss",
    "train/accuracy": "training accuracy (%)",
    "train/loss": "training loss",
    "train/objective": "training loss with penalty",
    "train/grad_norm": "gradient norm",
    "test/accuracy": "test accuracy (%)",
    "val/selected_accuracy": "validation accuracy (%)",
    "time/train_seconds": "training time of the stack (s)",
    "train/gradient_evaluations": "gradient evaluations",
    "epoch": "epoch",
    "val/target_epoch": "epoch",
    "val/target_gradient_evaluations": "gradient evaluations",
    "time/target_seconds": "training time of the stack (s)",
}
LINE_WIDTH = 36  # characters of a label before it goes on below
MOST_LINES = 3
MOST_LINES_BESIDE = 24  # of a legend, in a column


def plain(text: str) -> str:
    """Return text that a figure shows as it is: no mathematics between dollars, no hidden legend entry."""
    text = text.encode(errors="replace").decode().replace("$", r"\$")  # a name of a file may be no Unicode
    return f" {text}" if text.startswith("_") else text


def label(name: object) -> str:
    """Return a name as a label that leaves room for the plot: plain, in lines, cut off after the third."""
    return plain(textwrap.fill(str(name), LINE_WIDTH, max_lines=MOST_LINES, placeholder=" …"))


def colour_by_optimizer(names: Sequence[str]) -> dict[str, tuple]:
    """Return a colour for each optimizer: the same one in every plot for those that nnbench brings along."""
    known = [*OPTIMIZERS, *sorted(set(names) - set(OPTIMIZERS))]
    return {name: COLOURS[known.index(name) % len(COLOURS)] for name in names}


def marker_by_optimizer(names: Sequence[str]) -> dict[str, str]:
    """Return a marker for each optimizer, which tells them apart where colours do not."""
    known = [*OPTIMIZERS, *sorted(set(names) - set(OPTIMIZERS))]
    return {name: MARKERS[known.index(name) % len(MARKERS)] for name in names}


def dashes_by_activation(names: Sequence[str]) -> dict[str, tuple]:
    """Return a line style for each activation."""
    known = [*ACTIVATIONS, *sorted(set(names) - set(ACTIVATIONS))]
    return {name: DASHES[known.index(name) % len(DASHES)] for name in names}


def names_of(column: pd.Series) -> list[str]:
    """Return the names of a column; of a categorical one all of its categories, so that a part keeps its colours."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.categories)
    return list(column.unique())


def style_by_cell(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the colour, line style and marker of each cell, as arguments of `Axes.plot`.

    `table` has the columns cell, optimizer and activation. Cells that share optimizer and activation, and so colour
    and line style, are told apart by shade.
    """
    optimizers = names_of(table["optimizer"])
    colours, markers = colour_by_optimizer(optimizers), marker_by_optimizer(optimizers)
    dashes = dashes_by_activation(names_of(table["activation"]))
    import seaborn as sns

    styles = {}
    cells = table[["cell", "optimizer", "activation"]].drop_duplicates()
    for (optimizer, activation), alike in cells.groupby(["optimizer", "activation"], sort=False, observed=True):
        shades = sns.light_palette(colours[optimizer], n_colors=len(alike) + 1, reverse=True)[: len(alike)]
        for cell, shade in zip(alike["cell"], shades, strict=True):
            styles[cell] = {
                "color": shade,
                "linestyle": (0, dashes[activation]) if dashes[activation] else "-",
                "marker": markers[optimizer],
                "markersize": 4,
            }
    return styles


def style_by_method(names: Sequence[str], by: str) -> dict[str, dict[str, Any]]:
    """Return the same for each optimizer, or for each activation if that is what `by` says."""
    if by == "activation":
        dashes = dashes_by_activation(names)
        return {name: {"color": "black", "linestyle": (0, dashes[name]) if dashes[name] else "-"} for name in names}
    colours, markers = colour_by_optimizer(names), marker_by_optimizer(names)
    return {
        name: {"color": colours[name], "linestyle": "-", "marker": markers[name], "markersize": 5} for name in names
    }


def lowest_shown(scores: NDArray) -> float:
    """Return the score, in per cent, from which an axis begins so that a few failures leave room for the others.

    The lowest score, or four times as far below the highest as the median if that saves half of the axis; four steps at
    least, the smallest difference between scores, and a point.
    """
    scores = np.asarray(scores, dtype=float)
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return 0.0
    highest, lowest = float(scores.max()), float(scores.min())
    step = np.diff(np.unique(scores.round(9))).min(initial=np.inf)  # of 15 samples one is 6.7 %
    span = max(4 * (highest - float(np.median(scores))), 4 * step if np.isfinite(step) else 0.0, 1.0)
    return lowest if highest - lowest <= 2 * span else highest - span


def mark_mean(ax: Axes, mean: float, place: float, edge: float, *, above: bool = False, **style: Any) -> float:
    """Draw a mean, or at the edge an arrow with its number if it lies beyond; return where.

    Beyond is below the edge, or above it if `above`.
    """
    beyond = mean > edge if above else mean < edge
    if not beyond:
        ax.plot(mean, place, **{"markersize": 7, **style})
        return mean
    ax.plot(edge, place, **{"markersize": 7, **style, "marker": ">" if above else "<"}, clip_on=False)
    ax.annotate(
        f"{mean:.1f}", (edge, place), xytext=(-8 if above else 8, 0), textcoords="offset points",
        ha="right" if above else "left", va="center", fontsize="x-small",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip
    return edge


def begin_at(ax: Axes, edge: float, scores: pd.Series) -> None:
    """Let the axis of scores begin at the edge if some lie beyond."""
    if (scores < edge).any():
        room = 0.02 * (scores.max() - edge)
        ax.set_xlim(edge - room, scores.max() + 2 * room)


def name_rows(ax: Axes, cells: Sequence[str]) -> None:
    """Name the rows of a plot after cells, the first on top, in letters that fit."""
    size = "medium" if len(cells) <= 12 else "small"
    ax.set_yticks(range(len(cells)), [label(cell) for cell in cells], fontsize=size)
    ax.set_ylim(len(cells) - 0.45, -0.55)
    ax.grid(axis="x", alpha=0.4)


def axis_label(metric: str) -> str:
    """Return what an axis says of a metric, with its unit."""
    return AXIS_LABELS.get(metric, plain(f"{metric} (%)" if factor(metric) == 100 else metric))


def factor(metric: str) -> int:
    """Return what a metric is multiplied with to be shown: accuracies are shown in per cent."""
    return 100 if metric.endswith("accuracy") else 1


def legend_beside(ax: Axes, **options: Any) -> Legend:
    """Put the legend to the right of the axes, where it covers no curve; a long one in columns."""
    labels = [handle.get_label() for handle in options.get("handles", [])] or ax.get_legend_handles_labels()[1]
    num_lines = sum(text.count("\n") + 1 for text in labels)
    size = "small" if num_lines <= 12 else "x-small"
    num_columns = 1 + (num_lines - 1) // MOST_LINES_BESIDE
    options = {"fontsize": size, "handlelength": 3, "frameon": False, "ncols": num_columns, **options}
    return ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0, **options)
