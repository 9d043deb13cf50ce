"""What the records tell of the data: the size of each data set as it was trained on, and its classes."""

import pandas as pd

from nnbench.report.results import Results

SIZES = ["dataset", "train", "validation", "test", "features", "classes", "scaling"]


def sizes(results: Results) -> pd.DataFrame:
    """Return one row for each data set and way of dividing and scaling it: samples of the splits, features, classes."""
    rows = [
        {
            "dataset": cell["dataset"],
            **{name: cell["data"].get(name) for name in ("train", "validation", "test", "features")},
            "classes": len(cell["data"]["classes"]),
            "scaling": (cell["settings"] or {}).get("dataset.scaling", ""),
        }
        for cell in _cells(results)
    ]
    return pd.DataFrame(rows, columns=SIZES).drop_duplicates(ignore_index=True)


def class_counts(results: Results) -> dict[str, pd.DataFrame]:
    """Return how many samples of each class each split has, by data set.

    One row for each class, with the columns train, validation and test. The first cell of a data set with such counts
    speaks for all; records from before they were kept have none.
    """
    counts: dict[str, pd.DataFrame] = {}
    for cell in _cells(results):
        if "counts" in cell["data"] and cell["dataset"] not in counts:
            names = pd.Index(cell["data"]["classes"], name="class")
            counts[cell["dataset"]] = pd.DataFrame(cell["data"]["counts"], index=names)
    return counts


def _cells(results: Results) -> list[dict]:
    """Return what is known of each cell with a result; nothing where no record tells."""
    if "data" not in results.cells:
        return []
    return results.cells.dropna(subset="data")[["dataset", "data", "settings"]].to_dict("records")
