"""Which samples are missed again and again: hard ones, or wrongly labelled ones."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COLUMNS = ["sample", "true", "predicted", "missed", "trainings"]


def most_missed(labels: NDArray, predicted: NDArray, class_names: Sequence[str]) -> pd.DataFrame:
    """Return one row for each sample that some training missed, most often missed first, then by sample.

    `labels` is (samples,), the true classes as numbers from 0; `predicted` is (trainings, samples), with -1 throughout
    for a training that diverged, which counts nowhere. Columns: `sample`, its place in `labels`; `true` and
    `predicted`, names of classes, the latter the most frequent mistake (of equally frequent ones the first class);
    `missed`, how many trainings were wrong, of how many `trainings`. Raises ValueError for tables that do not fit, and
    for classes without a name.
    """
    if predicted.ndim != 2 or predicted.shape[1] != len(labels):
        raise ValueError(
            f"predictions of shape {predicted.shape} do not fit {len(labels)} labels; give one row for each training"
        )
    highest = max(labels.max(initial=-1), predicted.max(initial=-1))
    if highest >= len(class_names):
        raise ValueError(f"there is a class {highest}, but there are {len(class_names)} names; give one for each class")
    counted = predicted[(predicted >= 0).all(axis=-1)]  # (trainings, samples)
    wrong = counted != labels
    num_missed = wrong.sum(axis=0)
    samples = np.flatnonzero(num_missed)
    samples = samples[np.argsort(-num_missed[samples], kind="stable")]
    mistakes = np.zeros((len(samples), len(class_names)), dtype=int)
    for row, sample in enumerate(samples):
        mistakes[row] = np.bincount(counted[wrong[:, sample], sample], minlength=len(class_names))
    names = np.array([str(name) for name in class_names], dtype=object)
    table = pd.DataFrame(
        {
            "sample": samples,
            "true": names[labels[samples]].tolist(),
            "predicted": names[mistakes.argmax(axis=-1)].tolist() if len(samples) else [],
            "missed": num_missed[samples],
            "trainings": len(counted),
        }
    )
    return table[COLUMNS]
