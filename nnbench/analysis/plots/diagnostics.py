"""What the layers of one cell show of themselves while they train."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nnbench.analysis.plots.look import MARKERS, colour_by_optimizer, dashes_by_activation, legend_beside, names_of

UNITS = {"dead_units": "dead", "saturation": "saturated"}  # metric of a layer -> what a legend calls it


def gradient_flow(history: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the gradient norm of each layer over epochs, on a logarithmic axis: median and quartiles over seeds.

    `history` has one row for each replica and epoch of one cell: cell, optimizer, activation, seed, epoch and
    layer1/grad_norm, layer2/grad_norm, ... The first layer is the darkest. Seeds that have diverged are no longer
    counted. Raises ValueError for several cells and for a history without diagnostics.
    """
    columns = _columns(history, "grad_norm")
    _draw_layers(history, ax, {name: f"layer {layer}" for layer, name in columns.items()})
    if (history[list(columns.values())] > 0).any(axis=None):  # or else nothing is left to be drawn
        ax.set_yscale("log")
    ax.set(xlabel="epoch", ylabel="gradient norm\n(median and quartiles over seeds)")
    return ax


def idle_units(history: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the share of dead units (rectifiers) or of saturated outputs (sigmoid, tanh) of each hidden layer.

    `history` is that of `gradient_flow`, with layer1/dead_units or layer1/saturation and so on. Median and quartiles
    over seeds. Raises ValueError for several cells, for a history without diagnostics, and where no layer has such
    units, as with identity.
    """
    labels: dict[str, str] = {}
    for metric, word in UNITS.items():
        columns = _columns(history, metric, needed=False)
        labels |= {name: f"layer {layer}, {word}" for layer, name in columns.items() if history[name].notna().any()}
    if not labels:
        num_layers = len(_columns(history, "grad_norm"))  # or else nothing is on record at all
        reason = "its activation has none" if num_layers > 1 else "there is no hidden layer"
        raise ValueError(f"no layer has dead or saturated units: {reason}")
    words = sorted({word.rpartition(" ")[2] for word in labels.values()})
    _draw_layers(history, ax, labels, scale=100)
    noun = {"dead": "dead units (%)", "saturated": "saturated outputs (%)"}
    ax.set(xlabel="epoch", ylabel=f"{', '.join(noun[word] for word in words)}\n(median and quartiles over seeds)")
    ax.set_ylim(-4, 104)
    return ax


def _columns(history: pd.DataFrame, metric: str, *, needed: bool = True) -> dict[int, str]:
    """Return the columns of a metric by layer, first layer first."""
    cells = history["cell"].unique()
    if len(cells) != 1:
        raise ValueError(f"the history has {len(cells)} cells; pass one, as layers have no room for more")
    found = {int(match[1]): name for name in history if (match := re.fullmatch(rf"layer(\d+)/{metric}", name))}
    if needed and not found:
        raise ValueError(f"the history has no {metric} of any layer; train with diagnostics=basic")
    return dict(sorted(found.items()))


def _draw_layers(history: pd.DataFrame, ax: Axes, labels: dict[str, str], *, scale: float = 1) -> None:
    """Draw a line for each column in a shade of the optimizer's colour."""
    optimizer, activation = history["optimizer"].iloc[0], history["activation"].iloc[0]
    colour = colour_by_optimizer(names_of(history["optimizer"]))[optimizer]
    dashes = dashes_by_activation(names_of(history["activation"]))[activation]
    import seaborn as sns

    shades = sns.dark_palette(colour, n_colors=len(labels) + 1)[1:]  # the last layer has the very colour
    by_epoch = history.groupby("epoch")
    for place, (name, text) in enumerate(labels.items()):
        low, middle, high = (scale * by_epoch[name].quantile(share) for share in (0.25, 0.5, 0.75))
        shade = shades[place]
        step = max(1, len(middle) // 6)
        epochs = np.asarray(middle.index, dtype=float)
        ax.plot(
            epochs, middle, color=shade, linestyle=(0, dashes) if dashes else "-", label=text,
            marker=MARKERS[place % len(MARKERS)], markersize=4, markevery=(place % step, step),
        )  # fmt: skip
        ax.fill_between(epochs, low, high, color=shade, alpha=0.2, linewidth=0)
    ax.grid(alpha=0.3)
    legend_beside(ax)
