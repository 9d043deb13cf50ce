"""Scaling of the inputs: fitted on the training split alone, applied to all three.

Every kind is a `Scaler` with other numbers. To add a kind, write a function that fits one and name it in
`FIT_BY_SCALING` and in `Scaling`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

Scaling = Literal["none", "standard", "minmax", "global_minmax"]
BLOCK_ROWS = 4096  # rows per pass, so that the float64 intermediate of a large data set stays small


@dataclass(frozen=True, eq=False)
class Scaler:
    """The map (inputs - offset) / divisor + low, in float64."""

    offset: NDArray | float  # one number or (features,)
    divisor: NDArray | float  # one number or (features,)
    low: float = 0.0

    def __call__(self, inputs: NDArray, dtype: DTypeLike) -> NDArray:
        """Scale `inputs`, (samples, features), and return them C-contiguous in `dtype`."""
        scaled = np.empty(inputs.shape, dtype)
        for start in range(0, len(inputs), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            scaled[rows] = (inputs[rows] - self.offset) / self.divisor + self.low
        return scaled

    def inverse(self, scaled: NDArray) -> NDArray:
        """Return raw inputs from scaled ones, in float64, up to rounding; a constant comes back as itself."""
        raw: NDArray = np.where(np.isinf(self.divisor), 0, np.asarray(scaled, np.float64) - self.low)
        return raw * np.where(np.isinf(self.divisor), 1, self.divisor) + self.offset

    def save(self, path: Path) -> None:
        """Write the three numbers or arrays to an .npz file."""
        with path.open("wb") as file:
            np.savez(file, offset=self.offset, divisor=self.divisor, low=self.low)

    @classmethod
    def load(cls, path: Path) -> "Scaler":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["offset"], file["divisor"], float(file["low"]))


def fit_none(_inputs: NDArray, _feature_range: tuple[float, float]) -> Scaler:
    """Leave the inputs as they are."""
    return Scaler(0.0, 1.0)


def fit_standard(inputs: NDArray, _feature_range: tuple[float, float]) -> Scaler:
    """Give every feature mean 0 and standard deviation 1."""
    # Squares of 1e200 or 1e-200 are no numbers, so each feature is first divided by a power of two near its size.
    size = np.exp2(np.floor(np.log2(without_zeros(np.abs(inputs).max(axis=0).astype(np.float64)))))
    size = np.where(np.isfinite(size), size, 1.0)
    deviation = size * np.std(inputs / size, axis=0, dtype=np.float64)
    mean = size * np.mean(inputs / size, axis=0, dtype=np.float64)
    # Rounding alone gives 0.1, 0.1, 0.1 a standard deviation of 1e-17: what is not above it is constant.
    deviation[deviation <= 10 * np.finfo(np.float64).eps * np.abs(mean)] = 0
    return Scaler(mean, without_zeros(deviation))


def fit_minmax(inputs: NDArray, feature_range: tuple[float, float]) -> Scaler:
    """Give every feature the same range."""
    low, high = feature_range
    smallest = inputs.min(axis=0).astype(np.float64)
    return Scaler(smallest, without_zeros((inputs.max(axis=0) - smallest) / (high - low)), low)


def fit_global_minmax(inputs: NDArray, feature_range: tuple[float, float]) -> Scaler:
    """Give all features together one range, which keeps the contrast between pixels."""
    low, high = feature_range
    smallest = float(inputs.min())
    return Scaler(smallest, without_zeros((float(inputs.max()) - smallest) / (high - low)), low)


FIT_BY_SCALING: dict[str, Callable[[NDArray, tuple[float, float]], Scaler]] = {
    "none": fit_none,
    "standard": fit_standard,
    "minmax": fit_minmax,
    "global_minmax": fit_global_minmax,
}


def without_zeros(divisor: NDArray | float) -> NDArray:
    """Put infinity for zero, so that a feature which is constant in training becomes 0 everywhere, never NaN."""
    return np.where(np.equal(divisor, 0), np.inf, divisor)
