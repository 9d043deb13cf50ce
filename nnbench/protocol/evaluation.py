"""Scores on the test split, with scikit-learn's definitions.

They are counted here: to import scikit-learn takes longer than to train a small cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset
from nnbench.nn import MLP


@dataclass(frozen=True, kw_only=True)
class TestScores:
    """What the test split says of each replica.

    Diverged replicas have no predictions: they are scored at chance level, one in the number of classes, their other
    scores are not numbers and their confusion counts are zero.
    """

    __test__ = False  # not a test case, whatever its name suggests to pytest

    summary: Mapping[str, NDArray]  # metric -> (replicas,)
    predictions: NDArray  # (replicas, samples), -1 for a diverged replica
    probabilities: NDArray | None  # (replicas, samples, classes), not a number for a diverged replica; None: not known
    confusion: NDArray  # (replicas, classes, classes), counts; row = true class, column = predicted class
    by_class: Mapping[str, NDArray]  # precision, recall, f1 -> (replicas, classes)


def score(model: MLP, dataset: Dataset, usable: NDArray) -> TestScores:
    """Predict the test split once with every usable replica, a mask (replicas,), and count."""
    labels = dataset.test.labels
    loss = np.full(model.num_replicas, np.nan)
    predictions = np.full((model.num_replicas, len(labels)), -1, dtype=np.int64)
    probabilities = np.full((*predictions.shape, dataset.num_classes), np.nan, dtype=model.params.dtype)
    places = np.flatnonzero(usable)
    if len(places):
        good = model.with_params(model.params[places])
        logits = good.logits(dataset.test.inputs)
        loss[places] = good.loss(logits, labels, np.empty_like(logits))
        predictions[places] = good.loss.predict(logits)
        probabilities[places] = good.loss.probabilities(logits)
    return count(predictions, dataset, loss=loss, probabilities=probabilities)


def count(predictions: NDArray, dataset: Dataset, *, loss: NDArray, probabilities: NDArray | None) -> TestScores:
    """Return the scores of predictions of the test split, (replicas, samples), -1 for a diverged replica.

    `loss` is (replicas,), `probabilities` (replicas, samples, classes) where they are known.
    """
    labels, num_replicas, num_classes = dataset.test.labels, len(predictions), dataset.num_classes
    accuracy = np.full(num_replicas, 1 / num_classes)
    confusion = np.zeros((num_replicas, num_classes, num_classes), dtype=np.int64)
    by_class = {name: np.full((num_replicas, num_classes), np.nan) for name in ("precision", "recall", "f1")}
    macro = {f"test/{name}_macro": np.full(num_replicas, np.nan) for name in by_class}
    usable = (predictions >= 0).all(axis=-1)
    for place in np.flatnonzero(usable):
        predicted = predictions[place]
        accuracy[place] = (predicted == labels).mean()
        pairs = np.bincount(num_classes * labels + predicted, minlength=num_classes**2)
        confusion[place] = counts = pairs.reshape(num_classes, num_classes)
        hits, num_true, num_predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        by_class["precision"][place] = _ratio(hits, num_predicted)
        by_class["recall"][place] = _ratio(hits, num_true)
        by_class["f1"][place] = _ratio(2 * hits, num_true + num_predicted)
        for name, values in by_class.items():  # a class that is neither there nor predicted is left out
            macro[f"test/{name}_macro"][place] = values[place, num_true + num_predicted > 0].mean()
    return TestScores(
        summary={"test/accuracy": accuracy, "test/loss": loss, **macro, "test/openings": usable.astype(float)},
        predictions=predictions,
        probabilities=probabilities,
        confusion=confusion,
        by_class=by_class,
    )


def _ratio(part: NDArray, whole: NDArray) -> NDArray:
    """Return part / whole, zero where there is nothing."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
