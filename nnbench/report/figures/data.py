"""The data sets: how often each class occurs, and sample images."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from nnbench.analysis import plots
from nnbench.report import data
from nnbench.report.display import Paragraph
from nnbench.report.figures.canvas import drawn_once, sentences
from nnbench.report.results import Results
from nnbench.tracking.record import SampleImages

UNEQUAL = 1.5  # from this ratio of the most frequent class to the rarest on, a sentence says so
NO_IMAGES = SampleImages(np.empty((0, 0, 0), np.uint8), np.empty(0, np.int32))


@drawn_once
def data_sets(results: Results) -> Paragraph | None:
    """Draw for each data set how many samples each class has, and some of its training images."""
    sizes, counts_by_dataset = data.sizes(results), data.class_counts(results)
    said = []
    for dataset in sizes["dataset"].unique():
        if dataset not in counts_by_dataset:
            said.append(f"The records of {dataset} are from before the samples of each class were counted.")
            continue
        counts = counts_by_dataset[dataset]
        samples = results.samples.get(dataset, NO_IMAGES)
        figure = plots.data_set(counts, samples.images, samples.labels, plt.figure(layout="constrained"))
        figure.suptitle(plots.plain(dataset))
        said += [_imbalance(dataset, counts), _several(dataset, sizes), _left_out(dataset, counts, samples)]
    return sentences(*said)


def _imbalance(dataset: str, counts: pd.DataFrame) -> str:
    """Return how much more frequent one class is than another in the training split; nothing if hardly at all."""
    train, test = counts["train"].to_numpy(), counts["test"].to_numpy()
    most, least = int(train.argmax()), int(train.argmin())
    if train[most] <= UNEQUAL * train[least]:
        return ""
    share = test[most] / max(test.sum(), 1)
    return (
        f"The classes of {dataset} are not equally frequent: of the training samples {counts.index[most]} has "
        f"{train[most]:,} and {counts.index[least]} {train[least]:,}. Who always says {counts.index[most]} is right in "
        f"{share:.1%} of the test samples."
    )


def _several(dataset: str, sizes: pd.DataFrame) -> str:
    rows = sizes[sizes["dataset"] == dataset].drop_duplicates(["train", "validation"])
    return f"Cells on {dataset} differ in their training split; drawn is that of the first." if len(rows) > 1 else ""


def _left_out(dataset: str, counts: pd.DataFrame, samples: SampleImages) -> str:
    """Return of how many classes images are drawn, if not of all that have samples."""
    drawn, present = len(np.unique(samples.labels)), int((counts["train"] > 0).sum())
    return f"Images are drawn of {drawn} of the {present} classes of {dataset}." if 0 < drawn < present else ""
