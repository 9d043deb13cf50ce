"""What a data set holds: how often each class occurs, and some of its images."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnbench.analysis.plots.look import COLOURS, plain

MOST_NAMED = 40  # classes with a bar and a name of their own
MOST_COUNTED = 12  # classes with room for the number of samples
MOST_LETTERS = 20  # of the name of a class
ROW = 0.36  # inches of a class
SPLITS = {"train": "training", "validation": "validation", "test": "test"}


def class_counts(counts: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how many samples each class has, the splits one behind the other in its bar.

    `counts` has a row for each class and the columns train, validation and test. More than 40 classes are sorted by
    their number of samples, as there is no room for their names.
    """
    many = len(counts) > MOST_NAMED
    total = counts[list(SPLITS)].sum(axis="columns").to_numpy()
    order = np.argsort(-total, kind="stable") if many else np.arange(len(counts))
    before = np.zeros(len(counts))
    for (split, words), colour in zip(SPLITS.items(), COLOURS, strict=False):
        samples = counts[split].to_numpy()[order]
        if many:
            ax.bar(np.arange(len(counts)), samples, bottom=before, width=1, color=colour, label=words, rasterized=True)
        else:
            ax.barh(np.arange(len(counts)), samples, left=before, color=colour, label=words)
        before += samples
    # Above the axes, where it covers no bar.
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(SPLITS), frameon=False, fontsize="small")
    if many:
        ax.set(
            xlabel=f"the {len(counts)} classes, the most frequent first",
            ylabel="samples",
            xticks=[],
            xlim=(-1, len(counts)),
        )
        return ax
    if len(counts) <= MOST_COUNTED:
        for place, number in enumerate(before):
            ax.annotate(f"{number:,.0f}", (number, place), xytext=(3, 0), textcoords="offset points", va="center")
        ax.margins(x=0.12)
    _name_classes(ax, list(map(str, counts.index)))
    ax.set_xlabel("samples")
    return ax


def sample_images(images: NDArray, labels: NDArray, class_names: NDArray, ax: Axes) -> Axes:
    """Draw images, (n, height, width), of the classes that `labels`, (n,), name by their place: one row for each class.

    Of `class_names` those without an image are left out. Raises ValueError for unequal numbers of images and labels.
    """
    if len(images) != len(labels):
        raise ValueError(f"there are {len(images)} images and {len(labels)} labels; give one label for each image")
    present, rows = np.unique(labels, return_inverse=True)
    height, width = images.shape[1:]
    num_columns = int(np.bincount(rows).max(initial=1))
    gap = max(1, round(0.06 * max(height, width)))
    blank = np.full((len(present), height + gap, num_columns, width + gap), np.nan)
    for row in range(len(present)):
        of_class = images[rows == row]
        blank[row, :height, : len(of_class), :width] = of_class.swapaxes(0, 1)
    # One picture of all of them: hundreds of axes are slow to draw and large to keep.
    whole = blank.reshape(len(present) * (height + gap), num_columns * (width + gap))[:-gap, :-gap]
    ax.imshow(whole, cmap="gray_r", vmin=images.min(), vmax=images.max(), interpolation="nearest")
    places = (height + gap) * np.arange(len(present)) + (height - 1) / 2
    ax.set_yticks(places, [short(str(class_names[label])) for label in present], fontsize=_size(len(present)))
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def data_set(counts: pd.DataFrame, images: NDArray, labels: NDArray, figure: Figure) -> Figure:
    """Draw the numbers of a data set's classes and its images, if there are any, beside each other on an empty figure.

    The figure gets the size that it takes: more classes make it higher, up to a bound.
    """
    num_classes = len(counts)
    height = 3.5 if num_classes > MOST_NAMED else max(2.6, ROW * num_classes + 1)
    if not len(images):
        figure.set_size_inches(8, height)
        class_counts(counts, figure.subplots())
        return figure
    figure.set_size_inches(10, max(height, ROW * len(np.unique(labels)) + 1))
    left, right = figure.subplots(1, 2)
    class_counts(counts, left)
    sample_images(images, labels, counts.index.to_numpy(), right).set_title(
        "training samples", fontsize="medium", pad=8
    )
    return figure


def data_set_figure(counts: pd.DataFrame, images: NDArray, labels: NDArray, *, title: str) -> Figure:
    """Return a figure of its own with what `data_set` draws."""
    figure = data_set(counts, images, labels, Figure(layout="constrained"))  # without pyplot: no global state
    figure.suptitle(plain(title))
    return figure


def _name_classes(ax: Axes, names: list[str]) -> None:
    """Name the rows after classes, the first on top."""
    ax.set_yticks(range(len(names)), [short(name) for name in names], fontsize=_size(len(names)))
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", alpha=0.4)
    ax.set_axisbelow(True)


def short(name: str) -> str:
    """Return the name of a class on one line, cut off where it is long."""
    line = " ".join(name.split())
    return plain(line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 1]}…")


def _size(num_names: int) -> str:
    return "medium" if num_names <= 15 else "small"
