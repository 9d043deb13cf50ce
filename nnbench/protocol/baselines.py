"""Baselines: scikit-learn's classifiers on the same splits, with the same scores.

A baseline is a frozen dataclass whose fields are scikit-learn's own options, and whose `build` returns a new
classifier for a seed. To add one: a class here with its name in `nnbench/protocol/__init__.py`, and a file in
`conf/model/` that names it; a class of your own works in the same way from a module listed in `plugins`.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset, Source
from nnbench.data.source import require
from nnbench.protocol.cell import Status
from nnbench.protocol.evaluation import TestScores, count

SMALLEST = np.finfo(np.float64).eps  # of a probability in a logarithm, as in scikit-learn's log_loss
SHIPPED = ("dummy", "logistic_regression", "knn", "svm", "random_forest", "gradient_boosting", "mlp_classifier")
ON_LARGE_DATA = ("dummy", "logistic_regression")
MOST_VALUES = 1_000_000  # samples times features of a training split on which each of them takes seconds
END_OF_EPOCHS = "Stochastic Optimizer: Maximum iterations"  # how scikit-learn begins to warn of what is meant to be


class Baseline(Protocol):
    """What the protocol needs of a baseline."""

    draws: ClassVar[bool]  # whether a seed changes anything; if not, one fit stands for all seeds

    def build(self, seed: int, num_samples: int) -> Any:
        """Return a new classifier of scikit-learn's interface, to be fitted on so many samples."""


@dataclass(frozen=True)
class Dummy:
    """Always the most frequent class: what accuracy is without looking at the inputs."""

    draws: ClassVar[bool] = False

    def build(self, seed: int, num_samples: int) -> Any:
        """Return scikit-learn's DummyClassifier."""
        from sklearn.dummy import DummyClassifier

        return DummyClassifier(strategy="prior")


@dataclass(frozen=True)
class LogisticRegression:
    """A linear model with softmax outputs and an L2 penalty, fitted by L-BFGS.

    scikit-learn's LogisticRegression; the options have its names and defaults, but for more iterations.
    """

    C: float = 1.0
    max_iter: int = 1000

    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require("C", self.C, self.C > 0, "above 0")
        require("max_iter", self.max_iter, self.max_iter >= 1, "at least 1")

    def build(self, seed: int, num_samples: int) -> Any:
        """Return scikit-learn's LogisticRegression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.C, max_iter=self.max_iter)


@dataclass(frozen=True)
class KNN:
    """The vote of the nearest training samples.

    Cover & Hart, 1967; scikit-learn's KNeighborsClassifier with its defaults. No more neighbours than samples.
    """

    n_neighbors: int = 5
    weights: Literal["uniform", "distance"] = "uniform"

    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require("n_neighbors", self.n_neighbors, self.n_neighbors >= 1, "at least 1")

    def build(self, seed: int, num_samples: int) -> Any:
        """Return scikit-learn's KNeighborsClassifier."""
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(n_neighbors=min(self.n_neighbors, num_samples), weights=self.weights)


@dataclass(frozen=True)
class SVM:
    """A support vector machine, one class against another; it gives no probabilities.

    Cortes & Vapnik, 1995; scikit-learn's SVC with its defaults.
    """

    C: float = 1.0
    kernel: Literal["linear", "poly", "rbf", "sigmoid"] = "rbf"
    gamma: Literal["scale", "auto"] | float = "scale"

    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require("C", self.C, self.C > 0, "above 0")
        require("gamma", self.gamma, isinstance(self.gamma, str) or self.gamma >= 0, "scale, auto or at least 0")

    def build(self, seed: int, num_samples: int) -> Any:
        """Return scikit-learn's SVC."""
        from sklearn.svm import SVC

        return SVC(C=self.C, kernel=self.kernel, gamma=self.gamma)


@dataclass(frozen=True)
class RandomForest:
    """The mean vote of decision trees, each grown on a sample of its own.

    Breiman, 2001; scikit-learn's RandomForestClassifier with its defaults.
    """

    n_estimators: int = 100
    max_depth: int | None = None

    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require("n_estimators", self.n_estimators, self.n_estimators >= 1, "at least 1")
        require("max_depth", self.max_depth, self.max_depth is None or self.max_depth >= 1, "at least 1, or null")

    def build(self, seed: int, num_samples: int) -> Any:
        """Return scikit-learn's RandomForestClassifier."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=self.n_estimators, max_depth=self.max_depth, random_state=seed)


@dataclass(frozen=True)
class GradientBoosting:
    """Decision trees on histograms, each grown on what those before it got wrong.

    Friedman, 2001; Ke et al., 2017 (LightGBM); scikit-learn's HistGradientBoostingClassifier with its defaults, but
    never stopped early, so that it draws nothing (beyond 200,000 samples it bins a fixed draw of them).
    """

    learning_rate: float = 0.1
    max_iter: int = 100
    max_leaf_nodes: int = 31

    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require("learning_rate", self.learning_rate, self.learning_rate > 0, "above 0")
        require("max_iter", self.max_iter, self.max_iter >= 1, "at least 1")
        require("max_leaf_nodes", self.max_leaf_nodes, self.max_leaf_nodes >= 2, "at least 2")

    def build(self, seed: int, num_samples: int) -> Any:
        """Return scikit-learn's HistGradientBoostingClassifier."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.max_iter,
            max_leaf_nodes=self.max_leaf_nodes,
            early_stopping=False,
            random_state=0,
        )


@dataclass(frozen=True)
class MLPClassifier:
    """scikit-learn's own network, trained by Adam for the same number of epochs as ours.

    Its parameters are those of the last epoch: it does not look at validation.
    """

    hidden: tuple[int, ...] = (32,)
    activation: Literal["identity", "logistic", "tanh", "relu"] = "relu"
    learning_rate: float = 0.001
    batch_size: int | Literal["full"] = 32
    num_epochs: int = 30
    weight_decay: float = 0.0

    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require("hidden", self.hidden, all(size >= 1 for size in self.hidden), "a list of sizes, each at least 1")
        require("learning_rate", self.learning_rate, self.learning_rate > 0, "above 0")
        size = self.batch_size
        require("batch_size", size, size == "full" or size >= 1, "at least 1, or full")
        require("num_epochs", self.num_epochs, self.num_epochs >= 1, "at least 1")
        require("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")

    def build(self, seed: int, num_samples: int) -> Any:
        """Return scikit-learn's MLPClassifier."""
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier(
            hidden_layer_sizes=self.hidden,
            activation=self.activation,
            # Its penalty is divided by the samples of a batch.
            alpha=self.weight_decay * (num_samples if self.batch_size == "full" else self.batch_size),
            batch_size=num_samples if self.batch_size == "full" else min(self.batch_size, num_samples),
            learning_rate_init=self.learning_rate,
            max_iter=self.num_epochs,
            tol=0.0,
            n_iter_no_change=self.num_epochs + 1,
            random_state=seed,
        )


@dataclass(frozen=True, kw_only=True)
class BaselineCell:
    """Everything that determines the result of a baseline, as objects ready to use."""

    choices: Mapping[str, str]  # the name chosen in each group: model -> svm
    source: Source
    model: Baseline
    seeds: tuple[int, ...]
    dtype: Literal["float32", "float64"]  # of the inputs

    def num_trainings(self) -> int:
        """Return the number of fits."""
        return len(self.seeds) if self.model.draws else 1


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """What a baseline leaves behind: one entry for each seed, all of them equal where it draws nothing."""

    model: Baseline
    seeds: tuple[int, ...]
    num_fits: int
    summary: Mapping[str, NDArray]  # metric -> (seeds,)
    test: TestScores
    fit_seconds: float  # of all fits
    predict_seconds: float  # of the test split, all fits
    warnings: tuple[str, ...]  # of scikit-learn, each once
    status: Status = "finished"


def read_ahead(cell: BaselineCell) -> None:
    """Import what a baseline of ours is fitted with, for the processes that are forked from this one."""
    if type(cell.model).__module__ == __name__:
        cell.model.build(0, 1)


def run(cell: BaselineCell, dataset: Dataset) -> BaselineResult:
    """Fit a baseline for each seed, or once if it draws nothing; look at the test split once for each fit."""
    seeds = cell.seeds[: cell.num_trainings()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fits = [_fit(cell.model, dataset, seed) for seed in seeds]
    places = np.arange(len(seeds)) if cell.model.draws else np.zeros(len(cell.seeds), dtype=int)
    table = {name: np.array([fit.summary[name] for fit in fits])[places] for name in fits[0].summary}
    known = [fit.probabilities for fit in fits if fit.probabilities is not None]
    test = count(
        np.stack([fit.predictions for fit in fits])[places],
        dataset,
        loss=table.pop("test/loss"),
        probabilities=np.stack(known)[places] if len(known) == len(fits) else None,
    )
    return BaselineResult(
        model=cell.model,
        seeds=cell.seeds,
        num_fits=len(fits),
        summary={**table, **test.summary},
        test=test,
        fit_seconds=float(sum(fit.summary["time/fit_seconds"] for fit in fits)),
        predict_seconds=float(sum(fit.summary["time/predict_seconds"] for fit in fits)),
        warnings=tuple(line for line in dict.fromkeys(map(_line, caught)) if not line.startswith(END_OF_EPOCHS)),
    )


def beside(dataset: Dataset) -> tuple[str, ...]:
    """Return the baselines of a sweep that names none: all of them, or on large data those that stay quick."""
    return SHIPPED if dataset.train.inputs.size <= MOST_VALUES else ON_LARGE_DATA


@dataclass(frozen=True, eq=False)
class _Fit:
    """What one fitted classifier says."""

    predictions: NDArray  # (test samples,)
    probabilities: NDArray | None  # (test samples, classes)
    summary: Mapping[str, float]


def _fit(model: Baseline, dataset: Dataset, seed: int) -> _Fit:
    classifier = model.build(seed, len(dataset.train))
    started = perf_counter()
    classifier.fit(dataset.train.inputs, dataset.train.labels)
    fit_seconds = perf_counter() - started
    validation = classifier.predict(dataset.validation.inputs)
    started = perf_counter()
    predictions = np.asarray(classifier.predict(dataset.test.inputs))
    predict_seconds = perf_counter() - started
    if predictions.shape != dataset.test.labels.shape or not np.isin(predictions, range(dataset.num_classes)).all():
        raise ValueError(
            f"{type(classifier).__name__} predicts an array of shape {predictions.shape} with values such as "
            f"{predictions.ravel()[:3].tolist()}; it must predict one of the labels 0 to {dataset.num_classes - 1} for "
            f"each of {len(dataset.test)} samples"
        )
    probabilities = _probabilities(classifier, dataset.test.inputs, dataset.num_classes)
    summary = {
        "val/selected_accuracy": float((validation == dataset.validation.labels).mean()),
        "val/selected_loss": _log_loss(
            _probabilities(classifier, dataset.validation.inputs, dataset.num_classes), dataset.validation.labels
        ),
        "test/loss": _log_loss(probabilities, dataset.test.labels),
        "time/fit_seconds": fit_seconds,
        "time/predict_seconds": predict_seconds,  # of the test split
    }
    return _Fit(predictions, probabilities, summary)


def _probabilities(classifier: Any, inputs: NDArray, num_classes: int) -> NDArray | None:
    """Return the probability of each class, (samples, classes), where the classifier has any.

    A class that the training split lacks has probability 0.
    """
    if not hasattr(classifier, "predict_proba"):
        return None
    probabilities = np.zeros((len(inputs), num_classes))
    probabilities[:, classifier.classes_] = classifier.predict_proba(inputs)
    return probabilities


def _log_loss(probabilities: NDArray | None, labels: NDArray) -> float:
    """Return the mean negative log probability of the labels; not a number without probabilities."""
    if probabilities is None:
        return np.nan
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST)).mean())


def _line(warning: warnings.WarningMessage) -> str:
    """Return the first line of a warning."""
    return str(warning.message).strip().splitlines()[0]
