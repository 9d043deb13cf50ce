"""What a notebook shows: text as text and tables with rounded numbers. Whatever stands in a name is data, never markup.

To show a table in another way: `Table.rows` is the DataFrame behind it, with all of its columns and digits.
"""

import html
import io
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

MOST_ROWS = 40  # of a table; the file of the same name has them all
PLAIN = "tex2jax_ignore mathjax_ignore"  # classes of what Jupyter must not take for mathematics


@dataclass(frozen=True, repr=False)
class Paragraph:
    """One paragraph of text, its first words perhaps in bold."""

    text: str
    bold: str = ""

    def __str__(self) -> str:
        return f"{self.bold} {self.text}".strip()

    __repr__ = __str__  # what a notebook keeps beside the HTML

    def _repr_html_(self) -> str:
        bold = f"<strong>{html.escape(self.bold)}</strong> " if self.bold else ""
        return f'<p class="{PLAIN}">{bold}{html.escape(self.text)}</p>'


@dataclass(frozen=True, repr=False)
class Paragraphs:
    """Several paragraphs, or other things to show, below each other."""

    parts: tuple[Any, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.parts))

    __repr__ = __str__  # what a notebook keeps beside the HTML

    def _repr_html_(self) -> str:
        return "".join(part._repr_html_() for part in self.parts)


def lay_out(figure: Figure) -> None:
    """Place what a figure has, for good: to save a figure that has a layout still, matplotlib draws it twice."""
    if layout := figure.get_layout_engine():
        layout.execute(figure)
        figure.set_layout_engine(None)


@dataclass(frozen=True, repr=False)
class TextBesideFigure:
    """Text of its author's layout, such as a docstring, above a figure that belongs to it, if there is one."""

    title: str
    text: str
    figure: Figure | None

    def __str__(self) -> str:
        return f"{self.title}\n\n{self.text}"

    __repr__ = __str__  # what a notebook keeps beside the HTML

    def _repr_html_(self) -> str:
        words = f"<h3>{html.escape(self.title)}</h3><pre>{html.escape(self.text)}</pre>"
        return f'<div class="{PLAIN}">{words}{self._image()}</div>'

    def _image(self) -> str:
        if self.figure is None:
            return ""
        drawn = io.BytesIO()
        lay_out(self.figure)
        self.figure.savefig(drawn, format="svg", metadata={"Date": None})  # the same bytes each time
        return (
            f'<div class="wide"><img alt="curves of {html.escape(self.title)}" '
            f'src="data:image/svg+xml;base64,{b64encode(drawn.getvalue()).decode()}"></div>'
        )


Shown = Callable[[object], str]


@dataclass(frozen=True, repr=False)
class Table:
    """A table of full precision with what is shown of it.

    `columns` says for each column that is shown its head and how a value is written; the others stay in `rows`.
    """

    name: str  # of the file that has all rows and digits
    rows: pd.DataFrame
    columns: Mapping[str, tuple[str, Shown]]
    most: int = MOST_ROWS
    each: str = ""  # the column of which each value has that many rows

    def shown(self) -> pd.DataFrame:
        """Return the rows and columns that are shown, as text."""
        columns = {name: column for name, column in self.columns.items() if name in self.rows}
        top = self._top()
        return pd.DataFrame({head: [write(value) for value in top[name]] for name, (head, write) in columns.items()})

    def __str__(self) -> str:
        return f"{self.shown().to_string(index=False)}{self._rest()}"

    __repr__ = __str__  # what a notebook keeps beside the HTML

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):  # a command that is cut off cannot be repeated
            table = self.shown().to_html(index=False, border=0, classes=PLAIN.split())
        return self._aligned(table) + (
            f'<p class="{PLAIN}">{html.escape(self._rest().strip())}</p>' if self._rest() else ""
        )

    def _aligned(self, table: str) -> str:
        """Return the HTML table with words at the left; no name can look like a tag, as all text is escaped."""
        left = 'class="words" style="text-align: left"'
        turn = cycle(
            left if write is text else 'class="number"'
            for name, (_, write) in self.columns.items()
            if name in self.rows
        )
        return re.sub("<t[hd]>", lambda tag: f"{tag[0][:-1]} {next(turn)}>", table)

    def _top(self) -> pd.DataFrame:
        if self.each:
            return self.rows.groupby(self.each, sort=False).head(self.most)
        return self.rows.head(self.most)

    def _rest(self) -> str:
        num_more = len(self.rows) - len(self._top())
        return f"\nand {num_more} more, see tables/{self.name}.csv" if num_more > 0 else ""


def text(value: object) -> str:
    """Write a name or a sentence; nothing where there is none."""
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)


def count(value: object) -> str:
    """Write a whole number."""
    return number(value, "{:.0f}")


def per_cent(value: object) -> str:
    """Write a share as 97.53."""
    return number(100 * value, "{:.2f}") if isinstance(value, float) else text(value)


def points(value: object) -> str:
    """Write a difference of shares as +0.61."""
    # + 0, as no reader expects -0.00
    return number(round(100 * value, 2) + 0, "{:+.2f}") if isinstance(value, float) else text(value)


def number(value: object, pattern: str = "{:.3g}") -> str:
    """Write a number; a dash where there is none."""
    if not pd.api.types.is_number(value) or pd.isna(value):
        return "-"
    return pattern.format(value)


def seconds(value: object) -> str:
    """Write seconds; clocks that are read once say nothing of microseconds."""
    return "< 0.001" if isinstance(value, float) and value < 0.001 else number(value, "{:.3g}")


def p_value(value: object) -> str:
    """Write a p-value with three digits."""
    return number(value, "{:.3g}")
