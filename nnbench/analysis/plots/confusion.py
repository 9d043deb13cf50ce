"""What is taken for what: confusion matrices, their difference, the images most often missed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnbench.analysis.plots.look import label, plain
from nnbench.analysis.plots.squares import squares

FEW = 12  # classes, of which there is room for numbers


def confusion_matrix(counts: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the share of each true class (row) that was predicted as each class (column), in per cent."""
    shares = _shares(counts)
    few = len(counts) <= FEW
    words = shares.map(lambda share: f"{share:.0f}" if share >= 0.5 else "").to_numpy() if few else None
    squares(
        shares, ax, colours="Blues", ends=(0, 100), words=words, between=0.3 if few else 0,
        label="share of the true class (%)", shrink=0.8,
    )  # fmt: skip
    ax.set_aspect("equal")
    return _classes(ax)


def confusion_difference(first: pd.DataFrame, second: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the first confusion matrix minus the second, in points of the true class' share.

    On the diagonal a positive number says that the first is more often right; elsewhere, that it takes more of a class
    for another. Raises ValueError for matrices of different classes.
    """
    if list(first.index) != list(second.index):
        raise ValueError("the confusion matrices are of different classes; subtract those of one data set")
    points = _shares(first) - _shares(second)
    largest = max(float(points.abs().to_numpy().max(initial=0)), 1.0)
    few = len(first) <= FEW
    words = points.map(lambda point: f"{point:+.0f}" if abs(point) >= 0.5 else "").to_numpy() if few else None
    squares(
        points, ax, colours="PuOr_r", ends=(-largest, largest), words=words, between=0.3 if few else 0, lines="0.9",
        label="first minus second\n(points of the true class' share)", shrink=0.8,
    )  # fmt: skip
    ax.set_aspect("equal")
    return _classes(ax)


def confusion_matrix_figure(counts: pd.DataFrame, *, title: str) -> Figure:
    """Return a figure of its own with a confusion matrix."""
    size = min(max(4.5, 0.45 * len(counts) + 2.2), 14)
    figure = Figure(
        figsize=(size + 0.8, size), layout="constrained"
    )  # without pyplot: no global state, safe in any thread
    confusion_matrix(counts, figure.subplots()).set_title(plain(title))
    return figure


def missed_images(images: NDArray, table: pd.DataFrame, axes: NDArray) -> NDArray:
    """Draw images, (n, height, width), one on each of the axes, with what they are and what they were taken for.

    `table` has a row for each image: `true` and `predicted` (classes, the latter the most frequent mistake), `missed`
    (how many trainings were wrong) and `trainings` (of how many). Axes left over are switched off. Raises ValueError
    for fewer axes than images and for unequal numbers of images and rows.
    """
    panels = list(np.ravel(axes))
    if not len(images) == len(table) <= len(panels):
        raise ValueError(
            f"there are {len(images)} images, {len(table)} rows and {len(panels)} axes; give one row and one of the "
            "axes for each image"
        )
    for image, row, ax in zip(images, table.itertuples(), panels, strict=False):
        ax.imshow(image, cmap="gray_r", vmin=np.min(images), vmax=np.max(images), interpolation="nearest")
        ax.set_title(f"{label(row.true)} → {label(row.predicted)}\n{row.missed} of {row.trainings}", fontsize="small")
        ax.set(xticks=[], yticks=[])
    for ax in panels[len(images) :]:
        ax.set_axis_off()
    return axes


def _shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Return counts in per cent of their row, a class without samples being zero."""
    shares = 100 * counts.div(counts.sum(axis="columns").clip(lower=1), axis="index")
    return shares.rename(index=plain, columns=plain)


def _classes(ax: Axes) -> Axes:
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.tick_params(axis="y", rotation=0)
    return ax
