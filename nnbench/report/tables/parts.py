"""What the tables have in common: one part for each data set, named only where there are several."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from nnbench.report.display import Paragraph, Shown, Table, text

Columns = Mapping[str, tuple[str, Shown]]


def by_dataset(datasets: Sequence[str], compute: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of all data sets below each other, with the data set in the first column."""
    parts = []
    for name in datasets:
        part = compute(name)
        if len(part):
            part = part.drop(columns="dataset", errors="ignore")
            parts.append(part.assign(dataset=name)[["dataset", *part.columns]])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def table(name: str, rows: pd.DataFrame, columns: Columns, *, otherwise: str) -> Table | Paragraph:
    """Return a table, or the sentence that is said where it would have no rows.

    The data set is shown where there are several, a column only where some value is there.
    """
    if not len(rows):
        return Paragraph(otherwise)
    several = "dataset" in rows and len(set(rows["dataset"])) > 1
    kept = {key: column for key, column in columns.items() if key in rows and not _empty(rows[key])}
    return Table(name, rows, {"dataset": ("data set", text)} | kept if several else kept)


def _empty(column: pd.Series) -> bool:
    return bool(column.isna().all() or (column.dtype == object and (column.fillna("") == "").all()))
