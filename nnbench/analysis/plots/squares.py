"""A table as coloured squares with words in them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from numpy.typing import NDArray

DARK = 0.41  # relative luminance below which letters are white
ROOM = 1.1  # that a name takes, in widths of its letters


def squares(
    table: pd.DataFrame,
    ax: Axes,
    *,
    colours: str | Colormap,
    ends: tuple[float | None, float | None],
    words: NDArray | None = None,
    letters: dict[str, Any] | None = None,
    between: float = 0.0,
    lines: str = "white",
    **bar: Any,
) -> Axes:
    """Draw a square for each number of a table, its rows from top to bottom, with a bar that says what a colour means.

    `ends` are the numbers of the first and the last colour, by default the smallest and the largest. `words`, of the
    shape of the table, stand in the squares, in `letters`; `between` is the width of the lines between squares; without
    words they are pixels, as each square costs 400 bytes. `bar` goes to `Figure.colorbar`. A number that is missing is
    left empty. (seaborn's heatmap looks the same, but draws the whole figure to see whether names overlap.)
    """
    low, high = ends
    numbers = np.ma.masked_invalid(table.to_numpy(dtype=float))
    mesh = ax.pcolormesh(
        numbers, cmap=colours, vmin=low, vmax=high, linewidth=between, edgecolor=lines, rasterized=words is None
    )
    of_bar = ax.figure.colorbar(mesh, ax=ax, **bar)
    of_bar.outline.set_linewidth(0)
    ax.spines[:].set_visible(False)
    ax.set(xlim=(0, table.shape[1]), ylim=(table.shape[0], 0))
    _name(ax, table)
    if words is not None:
        faces = mesh.to_rgba(numbers)
        for (row, column), text in np.ndenumerate(words):
            colour = "0.15" if _luminance(faces[row, column]) > DARK else "white"
            look = {"ha": "center", "va": "center", "color": colour, **(letters or {})}
            ax.text(column + 0.5, row + 0.5, text, **look)
    return ax


def _name(ax: Axes, table: pd.DataFrame) -> None:
    """Name columns and rows, every second or third where they are many; names that are long are turned."""
    box = ax.get_window_extent()
    for axis, names, length in ((ax.xaxis, table.columns, box.width), (ax.yaxis, table.index, box.height)):
        letter = float(axis.get_major_ticks(1)[0].label1.get_fontsize()) * ax.figure.dpi / 72
        step = int(np.ceil(len(names) * letter / length))
        axis.set_ticks(np.arange(0, len(names), step) + 0.5, labels=names[::step])
    names = ax.get_xticklabels()
    widest = max(name.get_window_extent().width for name in names)
    if ROOM * widest * len(names) > box.width:
        ax.tick_params(axis="x", rotation=90)


def _luminance(colour: NDArray) -> float:
    """Return the relative luminance of a colour, (red, green, blue, alpha), WCAG 2."""
    rgb = colour[:3]
    linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
