"""The base of every data set: raw samples in, checked, split and scaled data set out.

Raw inputs are (samples, features) in uint8 or float64, labels (samples,) in 0..num_classes-1.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nnbench.data.dataset import DataError, Dataset, Split
from nnbench.data.labels import look_alike, problem_of_name
from nnbench.data.scaling import FIT_BY_SCALING, Scaler, Scaling
from nnbench.data.splitting import draw_stratified


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """The raw content of a data set, as its source holds it."""

    name: str
    origin: str  # what an error message calls it: a file, a folder, or the name
    inputs: NDArray  # (samples, features), uint8 or float64
    labels: NDArray  # (samples,), integers
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    image_shape: tuple[int, int] | None = None
    test: Split | None = None  # the official test part, where the data set has one
    published_digest: str | None = None  # of the genuine content, where it is known
    warnings: tuple[str, ...] = ()

    def parts(self) -> Iterator[tuple[str, NDArray, NDArray]]:
        """Yield what an error message calls a part, its inputs and its labels."""
        yield self.origin, self.inputs, self.labels
        if self.test is not None:
            yield f"the test part of {self.origin}", self.test.inputs, self.test.labels


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """One choice of data set and how it is split and scaled.

    The splits depend on `split_seed` alone, never on the seed of a training. `validation_fraction` and `test_fraction`
    are shares of all samples. Where the data set has an official test part, that part is the test split,
    `validation_fraction` is a share of the other samples, and `test_fraction` has no effect. `num_samples` keeps a
    stratified subset of the samples that are not in the test split. Scaling is fitted on the training split alone.
    """

    split_seed: int = 0
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    scaling: Scaling = "none"
    feature_range: tuple[float, float] = (0.0, 1.0)
    num_samples: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(getattr(self, field.name), list):  # yaml has no tuples, and a source must be hashable
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        require("split_seed", self.split_seed, self.split_seed >= 0, "at least 0")
        for name in ("validation_fraction", "test_fraction"):
            fraction = getattr(self, name)
            require(name, fraction, 0 < fraction < 1, "between 0 and 1")
        held_out = self.validation_fraction + self.test_fraction
        require("validation_fraction + test_fraction", held_out, held_out < 1, "below 1")
        require("scaling", self.scaling, self.scaling in get_args(Scaling), f"one of {', '.join(get_args(Scaling))}")
        low, high = self.feature_range
        require("feature_range", (low, high), -np.inf < low < high < np.inf, "finite, with the smaller number first")
        if self.num_samples is not None:
            require("num_samples", self.num_samples, self.num_samples >= 1, "at least 1")

    @abstractmethod
    def read(self) -> Samples:
        """Find or generate the raw samples."""

    def load(self, dtype: DTypeLike = np.float32) -> Dataset:
        """Read, check, split and scale; raises `DataError` where the content cannot be used."""
        samples = self.read()
        check_samples(samples)
        content_digest = digest(samples)
        raw = self.split(samples)
        scaler, (train, validation, test) = self.scale(raw, samples, np.dtype(dtype))

        warnings = [*samples.warnings, *look_alike(samples.class_names)]
        if samples.published_digest not in (None, content_digest):
            warnings.append(f"{samples.origin} does not hold the published {samples.name}: its content differs")
        for purpose, split in (("training", train), ("validation", validation), ("test", test)):
            for label in np.setdiff1d(np.arange(len(samples.class_names)), split.labels):
                warnings.append(f"class {samples.class_names[label]!r} has no sample in the {purpose} split")
        return Dataset(
            name=samples.name,
            train=train,
            validation=validation,
            test=test,
            class_names=samples.class_names,
            feature_names=samples.feature_names,
            image_shape=samples.image_shape,
            scaler=scaler,
            digest=content_digest,
            warnings=tuple(warnings),
        )

    def split(self, samples: Samples) -> tuple[Split, Split, Split]:
        """Divide raw samples into training, validation and test split, each class in proportion."""
        rng = np.random.default_rng(self.split_seed)
        inputs, labels = samples.inputs, samples.labels
        pool = np.arange(len(labels))  # rows left for training and validation
        validation_share = self.validation_fraction
        if samples.test is not None:
            test = samples.test
        else:
            test_rows, pool = draw_stratified(pool, labels, round(self.test_fraction * len(labels)), rng)
            test = Split(inputs[test_rows], labels[test_rows])
            validation_share /= 1 - self.test_fraction
        # Drawn after the test split, so that every size of training split is tested on the same samples.
        if self.num_samples is not None:
            if self.num_samples > len(pool):
                raise DataError(
                    f"num_samples is {self.num_samples} but the training and validation part of {samples.origin} has "
                    f"{len(pool)} samples; lower it, or use num_samples=null for all of them"
                )
            pool, _ = draw_stratified(pool, labels, self.num_samples, rng)
        validation_rows, train_rows = draw_stratified(pool, labels, round(validation_share * len(pool)), rng)

        if not (len(train_rows) and len(validation_rows) and len(test)):
            raise DataError(
                f"{samples.origin} is too small to be split: training, validation and test would have "
                f"{len(train_rows)}, {len(validation_rows)} and {len(test)} samples; "
                "add samples, or change num_samples, validation_fraction or test_fraction"
            )
        train = Split(inputs[train_rows], labels[train_rows])
        validation = Split(inputs[validation_rows], labels[validation_rows])
        return train, validation, test

    def scale(self, raw: tuple[Split, Split, Split], samples: Samples, dtype: np.dtype) -> tuple[Scaler, list[Split]]:
        """Scale raw splits by what the first of them, the training split, says."""
        scaled = []
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow is found below, with the name of its feature
            scaler = FIT_BY_SCALING[self.scaling](raw[0].inputs, self.feature_range)
            for split in raw:
                inputs = scaler(split.inputs, dtype)
                for _, column in first_non_finite(inputs):
                    raise DataError(
                        f"{samples.origin}: column {samples.feature_names[column]!r} holds numbers too large for "
                        f"{dtype} with scaling={self.scaling}; divide that column by a constant"
                    )
                scaled.append(Split(inputs, split.labels.astype(np.intp)))
        return scaler, scaled


def require(name: str, value: Any, allowed: bool, wanted: str) -> None:
    """Raise a `ValueError` that names a setting, its value and what it must be."""
    if not allowed:
        raise ValueError(f"{name} is {value}; it must be {wanted}")


def first_non_finite(inputs: NDArray) -> list[tuple[int, int]]:
    """Return [(row, column)] of the first NaN or infinity, or []."""
    if np.isfinite(inputs).all():
        return []
    row, column = np.argwhere(~np.isfinite(inputs))[0]
    return [(int(row), int(column))]


def check_samples(samples: Samples) -> None:
    """Raise `DataError` unless the content is finite numbers with labels of at least two classes."""
    num_features, num_classes = len(samples.feature_names), len(samples.class_names)
    for label, name in enumerate(samples.class_names):
        if problem := problem_of_name(name):
            rows = np.flatnonzero(samples.labels == label)
            place = f", row {rows[0] + 1}" if len(rows) else ""
            raise DataError(f"{samples.origin}{place}: the name of a class {problem}; correct the label")
    for origin, inputs, labels in samples.parts():
        if not len(labels) or not num_features:
            raise DataError(f"{origin} has {len(labels)} samples and {num_features} features; it needs some of each")
        if inputs.shape != (len(labels), num_features):
            raise DataError(f"{origin} has inputs {inputs.shape} for {len(labels)} labels and {num_features} features")
        if labels.min() < 0 or labels.max() >= num_classes:
            row = int(np.argmax((labels < 0) | (labels >= num_classes)))
            raise DataError(f"{origin}: label {labels[row]} of row {row + 1} is not between 0 and {num_classes - 1}")
        for row, column in first_non_finite(inputs):
            raise DataError(
                f"{origin}: column {samples.feature_names[column]!r}, row {row + 1} is {inputs[row, column]}; "
                "every feature must be a finite number"
            )
    present = len(np.unique(samples.labels))
    if present < 2:
        only = samples.class_names[samples.labels[0]]
        raise DataError(f"{samples.origin} has only the class {only!r}; classification needs at least 2 classes")
    if 2 * present > len(samples.labels):
        raise DataError(
            f"{samples.origin} has {present} classes but only {len(samples.labels)} samples, fewer than 2 for each; "
            "add samples, or choose a target that holds classes and not a measured number"
        )


def digest(samples: Samples) -> str:
    """Return the SHA-256 of the content, as hexadecimal text.

    Hashed are the class names, then shape, type and bytes of inputs and labels, then those of the official test part;
    little-endian, row by row, so that the digest is the same on every machine and with every version of NumPy.
    """
    content = hashlib.sha256(json.dumps(samples.class_names).encode())
    for _, inputs, labels in samples.parts():
        for array, dtype in ((inputs, "|u1" if inputs.dtype == np.uint8 else "<f8"), (labels, "<i8")):
            content.update(f"{array.shape}{dtype}".encode())
            content.update(np.ascontiguousarray(array, dtype=dtype).data)
    return content.hexdigest()
