"""The data sets: their splits and their classes."""

import pandas as pd

from nnbench.report import data
from nnbench.report.display import Paragraph, Table, count, text
from nnbench.report.results import Results


def data_sets(results: Results) -> Table | Paragraph:
    """Return the size of each data set and its splits, as the cells were trained on it."""
    columns = {
        "dataset": ("data set", text),
        "train": ("training samples", count),
        "validation": ("validation", count),
        "test": ("test", count),
        "features": ("features", count),
        "classes": ("classes", count),
        "scaling": ("scaling", text),
    }
    rows = data.sizes(results)
    return Table("data_sets", rows, columns) if len(rows) else Paragraph("No record tells the size of the data.")


def class_counts(results: Results) -> pd.DataFrame:
    """Return one row for each data set and class: how many samples each split has."""
    parts = [counts.reset_index().assign(dataset=name) for name, counts in data.class_counts(results).items()]
    columns = ["dataset", "class", "train", "validation", "test"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
