"""What training sees of a data set: three splits and the names that go with them.

Inputs are (samples, features), labels (samples,).
"""

from dataclasses import dataclass

from numpy.typing import NDArray

from nnbench.data.scaling import Scaler


class DataError(Exception):
    """A data set cannot be used: names the file or source, what was expected, what was found, and the way out."""


@dataclass(frozen=True, eq=False)
class Split:
    """Samples of one purpose: to train on, to select by, or to report."""

    inputs: NDArray  # (samples, features), scaled, C-contiguous, of the dtype that `load` was asked for
    labels: NDArray  # (samples,), np.intp, 0..num_classes-1

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification problem, split into train, validation and test, and scaled by its training split."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    image_shape: tuple[int, int] | None  # (rows, columns) where the features are pixels
    scaler: Scaler  # from raw inputs to those of the splits
    digest: str  # SHA-256 of the raw content, before splitting and scaling; see `source.digest`
    warnings: tuple[str, ...]  # what a report should mention, such as a class that is missing from a split

    @property
    def num_features(self) -> int:
        """Number of input features."""
        return len(self.feature_names)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
