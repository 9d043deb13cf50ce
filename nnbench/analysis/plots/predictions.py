"""What a network takes a sample for, beside the sample."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnbench.analysis.plots.data import short
from nnbench.analysis.plots.look import COLOURS, plain

MOST_BARS = 10
ROW = 3.0  # inches of a sample


def class_probabilities(
    probabilities: NDArray, class_names: Sequence[str], ax: Axes, *, true: str | None = None
) -> Axes:
    """Draw the probabilities of one sample, (classes,), as bars, the largest first, ten at most.

    The bar of the true class, where it is known, has another colour. Raises ValueError for unequal numbers of
    probabilities and names.
    """
    if probabilities.shape != (len(class_names),):
        raise ValueError(f"there are {probabilities.shape} probabilities for {len(class_names)} classes")
    order = np.argsort(-probabilities, kind="stable")[:MOST_BARS]
    names = [class_names[place] for place in order]
    per_cent = 100 * probabilities[order]
    ax.barh(range(len(order)), per_cent, color=[COLOURS[2] if name == true else COLOURS[0] for name in names])
    for place, share in enumerate(per_cent):
        ax.annotate(f"{share:.1f}", (share, place), xytext=(3, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(order)), [f"{short(name)} (true)" if name == true else short(name) for name in names])
    ax.set(xlim=(0, 112), ylim=(max(len(order), 3) - 0.4, -0.6), xlabel="probability (%)")
    ax.set_xticks(range(0, 101, 20))
    return ax


def predictions_figure(
    images: NDArray | None,
    probabilities: NDArray,
    class_names: Sequence[str],
    *,
    titles: Sequence[str],
    true: str | None = None,
    shades: tuple[float, float] | None = None,
) -> Figure:
    """Return a figure of its own with a row for each sample: the image, if there are any, and its probabilities.

    `images` is (samples, height, width), bright as the network gets them, `probabilities` (samples, classes); `titles`
    stand above the samples. `shades` are the numbers of black and white; without them each image has its own.
    """
    num_samples, num_columns = len(probabilities), 1 if images is None else 2
    figure = Figure(figsize=(4 + 3 * (num_columns - 1), ROW * num_samples), layout="constrained")
    darkest, brightest = shades or (None, None)
    ratios = [1] if images is None else [3, 4]
    rows = figure.subplots(num_samples, num_columns, squeeze=False, width_ratios=ratios)
    for number, axes in enumerate(rows):
        class_probabilities(probabilities[number], class_names, axes[-1], true=true)
        axes[0].set_title(plain(titles[number]), fontsize="medium")
        if images is not None:
            axes[0].imshow(images[number], cmap="gray", vmin=darkest, vmax=brightest, interpolation="nearest")
            axes[0].set(xticks=[], yticks=[])
    return figure
