"""Plots: they draw, they never load or save.

A colour belongs to an optimizer and a line style to an activation, everywhere.
"""

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = sns.color_palette("colorblind")
OPTIMIZERS = ("adam", "rmsprop", "momentum", "adagrad", "gd", "nesterov", "rprop")  # the most distinct colours first
ACTIVATIONS = ("relu", "sigmoid", "tanh", "leaky_relu", "identity")
DASHES = ((), (4, 1.5), (1, 1), (3, 1, 1.5, 1), (5, 1, 1, 1, 1, 1))
AXIS_LABELS = {
    "val/accuracy": "validation accuracy",
    "val/loss": "validation loss",
    "train/accuracy": "training accuracy",
    "train/loss": "training loss",
    "time/train_seconds": "training time of the stack (s)",
    "epoch": "epoch",
}


def plain(text: str) -> str:
    """Return text that a figure shows as it is: no mathematics between dollars, no hidden legend entry."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def colour_by_optimizer(names: Sequence[str]) -> dict[str, tuple]:
    """Return a colour for each optimizer: the same one in every plot for those that nnbench brings along."""
    known = [*OPTIMIZERS, *sorted(set(names) - set(OPTIMIZERS))]
    return {name: COLOURS[known.index(name) % len(COLOURS)] for name in names}


def dashes_by_activation(names: Sequence[str]) -> dict[str, tuple]:
    """Return a line style for each activation."""
    known = [*ACTIVATIONS, *sorted(set(names) - set(ACTIVATIONS))]
    return {name: DASHES[known.index(name) % len(DASHES)] for name in names}


def learning_curves(history: pd.DataFrame, ax: Axes, *, metric: str = "val/accuracy", against: str = "epoch") -> Axes:
    """Draw one line for each cell: the mean of a metric over its seeds, with a band of one standard deviation.

    `history` has one row for each replica and epoch: cell, optimizer, activation, seed, epoch and the metrics. Cells
    that share optimizer and activation, and so colour and line style, are told apart by shade.
    """
    colours = colour_by_optimizer(history["optimizer"].unique())
    dashes = dashes_by_activation(history["activation"].unique())
    for (optimizer, activation), alike in history.groupby(["optimizer", "activation"], sort=False):
        cells = alike["cell"].unique()
        shades = sns.light_palette(colours[optimizer], n_colors=len(cells) + 1, reverse=True)[: len(cells)]
        for cell, shade in zip(cells, shades, strict=True):
            by_epoch = alike[alike["cell"] == cell].groupby("epoch")
            mean, spread = by_epoch[metric].mean(), by_epoch[metric].std().fillna(0)
            places = mean.index if against == "epoch" else by_epoch[against].mean()
            line_style = (0, dashes[activation]) if dashes[activation] else "-"
            ax.plot(places, mean, color=shade, linestyle=line_style, label=plain(str(cell)))
            ax.fill_between(places, mean - spread, mean + spread, color=shade, alpha=0.15, linewidth=0)
    ax.set(
        xlabel=AXIS_LABELS.get(against, against), ylabel=f"{AXIS_LABELS.get(metric, metric)}\n(mean ± 1 sd over seeds)"
    )
    ax.legend(fontsize="small", handlelength=3)
    return ax


def accuracy_points(replicas: pd.DataFrame, leaderboard: pd.DataFrame, ax: Axes) -> Axes:
    """Draw each seed's test accuracy as a point and each cell's mean with its 95 % interval, best cell on top.

    `replicas` and `leaderboard` are those of `nnbench.analysis.tables`.
    """
    colours = colour_by_optimizer(list(replicas["optimizer"].unique()))
    optimizer_by_cell = dict(zip(replicas["cell"], replicas["optimizer"], strict=True))
    place_by_cell = {cell: place for place, cell in enumerate(leaderboard["cell"])}
    ax.scatter(
        100 * replicas["test/accuracy"],
        replicas["cell"].map(place_by_cell) + 0.22,
        c=[colours[name] for name in replicas["optimizer"]],
        alpha=0.45,
        s=14,
        linewidths=0,
    )
    for place, row in enumerate(leaderboard.itertuples()):
        colour = colours[optimizer_by_cell[row.cell]]
        ax.plot([100 * row.low, 100 * row.high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        ax.plot(100 * row.mean, place, "o", color=colour, markeredgecolor="black", markersize=7)
    ax.set_yticks(range(len(leaderboard)), [plain(str(cell)) for cell in leaderboard["cell"]])
    ax.set_ylim(len(leaderboard) - 0.45, -0.45)
    ax.set(xlabel="test accuracy (%)\nlarge: mean and its 95 % interval over seeds; small: one seed", ylabel="")
    ax.grid(axis="x", alpha=0.4)
    return ax


def confusion_matrix(counts: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the share of each true class (row) that was predicted as each class (column), in per cent."""
    shares = 100 * counts.div(counts.sum(axis="columns").clip(lower=1), axis="index").rename(index=plain, columns=plain)
    few = len(counts) <= 12
    words = shares.map(lambda share: f"{share:.0f}" if share >= 0.5 else "").to_numpy() if few else False
    sns.heatmap(
        shares, annot=words, fmt="", cmap="Blues", vmin=0, vmax=100, square=True, linewidths=0.3 if few else 0, ax=ax,
        cbar_kws={"label": "share of the true class (%)", "shrink": 0.8},
    )  # fmt: skip
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.tick_params(axis="y", rotation=0)
    return ax


def confusion_matrix_figure(counts: pd.DataFrame, *, title: str) -> Figure:
    """Return a figure of its own with a confusion matrix."""
    size = min(max(4.5, 0.45 * len(counts) + 2.2), 14)
    figure = Figure(
        figsize=(size + 0.8, size), layout="constrained"
    )  # without pyplot: no global state, safe in any thread
    confusion_matrix(counts, figure.subplots()).set_title(plain(title))
    return figure
