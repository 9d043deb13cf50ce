"""Tables as files: CSV that a spreadsheet opens without harm, and LaTeX that a paper takes in with `\\input`.

What leaves the machine is made here, so credentials are taken out of text. Names of settings,
classes and studies are data: they are never a formula, a LaTeX command or markup.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from nnbench.tracking.store import without_credentials

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a cell begins that a spreadsheet would run; OWASP, CSV injection
MOST_IN_LATEX = 100  # rows; a longer table is for a program, not for a paper
DIGITS = 4  # significant ones of a number in a LaTeX table
LATEX: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after \\ it would begin an argument
    "]": "{]}",
    "*": "{*}",
    "-": "-{}",  # two of them would be a dash
    **{character: f"\\{character}" for character in "&%$#_"},
}
BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def write_tables(tables: Mapping[str, pd.DataFrame], folder: str | Path) -> list[Path]:
    """Write each table as NAME.csv, and as NAME.tex unless it is long, into a folder, which is made; return the files.

    An index without a name that only counts the rows is left out. Raises ValueError for a name that is no file's.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, table in tables.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ValueError(f"{name!r} cannot name a file of a table; use letters, digits and underscores")
        shown = _with_index(table)
        for suffix, write in ((".csv", as_csv), (".tex", as_latex)):
            if write is as_csv or len(shown) <= MOST_IN_LATEX:
                files.append(folder / f"{name}{suffix}")
                files[-1].write_text(write(shown), encoding="utf-8", newline="")
    return files


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV: numbers with all their digits, text that no spreadsheet takes for a formula."""
    safe = table.copy()
    safe.columns = pd.Index([_no_formula(_text(name)) for name in table.columns])
    for place, (_, column) in enumerate(table.items()):
        if not _is_numeric(column):
            safe.isetitem(place, pd.Series([_csv_value(value) for value in column], dtype=object, index=table.index))
    # Text in quotes, as some countries' spreadsheets take a semicolon for a comma.
    return safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def as_latex(table: pd.DataFrame) -> str:
    """Return a table as a tabular of the package booktabs: numbers rounded and to the right, text escaped."""
    numeric = [_is_numeric(column) for _, column in table.items()]
    lines = [
        "% needs \\usepackage{booktabs}; a wide table fits with \\resizebox{\\linewidth}{!}{\\input{...}}",
        f"\\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numeric)}}}",
        "\\toprule",
        _latex_row(escape_latex(_text(name)) for name in table.columns),
        "\\midrule",
        *(_latex_row(map(_latex_value, row)) for row in table.itertuples(index=False, name=None)),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Return text that LaTeX sets as it is, on one line and without control characters."""
    return CONTROLS.sub("", BREAKS.sub(" ", text)).translate(str.maketrans(LATEX))


def _with_index(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index, if it says something, is a column; several levels of columns are joined."""
    counts = isinstance(table.index, pd.RangeIndex) and table.index.name is None
    table = table if counts else table.reset_index(allow_duplicates=True)
    if table.columns.nlevels > 1:
        table = table.set_axis([" ".join(str(part) for part in name if str(part)) for name in table.columns], axis=1)
    return table


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _text(value: object) -> str:
    return without_credentials(CONTROLS.sub("", str(value)))


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _csv_value(value: object) -> object:
    """Return what CSV is to have of a value: numbers and nothing as they are, anything else as harmless text."""
    if _is_missing(value) or isinstance(value, (bool, np.bool_, int, float, np.number)):
        return value
    return _no_formula(_text(value))


def _latex_value(value: object) -> str:
    if _is_missing(value):
        return ""
    if isinstance(value, (float, np.floating)):
        return _latex_number(float(value))
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"${value}$" if value < 0 else str(value)
    return escape_latex(_text(value))


def _latex_number(value: float) -> str:
    """Return a number with its significant digits; powers of ten where there would be many zeros."""
    if np.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    # Whole parts are kept: 98.765 is 98.77, and 12345.6 is 12346, not 1.235e+04.
    text = f"{value:.0f}" if 10**DIGITS <= abs(value) < 10**9 else f"{value:.{DIGITS}g}"
    mantissa, _, exponent = text.partition("e")
    if exponent:
        return f"${mantissa} \\cdot 10^{{{int(exponent)}}}$"
    return f"${text}$" if text.startswith("-") else text


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))


def _latex_row(values: Iterable[str]) -> str:
    return " & ".join(values) + r" \\"
