"""Activation functions, each beside its derivative.

An activation fills two arrays of the shape of `z` at once: `value` = f(z) and `slope` = f'(z), so backpropagation is
one line for all of them (`delta *= slope`). Any shape, any floating dtype, any finite `z` without overflow.
`curvature` gives f''(z) from these; training does without it, the Hessian of `nnbench.nn.curvature` does not.

To add one: a frozen dataclass with `__call__`, `gain` and `family`, and with `curvature` if its Hessian is wanted, and
a file in `conf/activation/` that names it.
"""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Activation(Protocol):
    """What a layer needs of an activation."""

    @property
    def gain(self) -> float:
        """Factor on the initial weights that keeps the size of the signal from layer to layer."""

    @property
    def family(self) -> Literal["rectifier", "squashing", "linear"]:
        """What kind of function it is; the initial weights that suit a layer follow from it."""

    def __call__(self, z: NDArray, value: NDArray, slope: NDArray) -> None:
        """Fill `value` with f(z) and `slope` with f'(z)."""


@runtime_checkable
class CurvedActivation(Activation, Protocol):
    """An activation whose second derivative is known."""

    def curvature(self, z: NDArray, value: NDArray, slope: NDArray) -> NDArray:
        """Return f''(z), given z and what a call filled: `value` = f(z) and `slope` = f'(z)."""


@dataclass(frozen=True)
class Sigmoid:
    """f(z) = 1 / (1 + e^-z),  f' = f (1 - f),  f'' = f' (1 - 2 f).

    Rumelhart, Hinton & Williams, 1986, Nature 323.
    """

    gain: ClassVar[float] = 1.0
    family: ClassVar[Literal["squashing"]] = "squashing"

    def __call__(self, z: NDArray, value: NDArray, slope: NDArray) -> None:
        """Fill `value` with f(z) and `slope` with f'(z)."""
        sigmoid(z, out=value)
        np.subtract(1, value, out=slope)
        slope *= value

    def curvature(self, z: NDArray, value: NDArray, slope: NDArray) -> NDArray:
        """Return f'(z) (1 - 2 f(z))."""
        return slope * (1 - 2 * value)


@dataclass(frozen=True)
class Tanh:
    """f(z) = tanh z,  f' = 1 - f^2,  f'' = -2 f f'.

    LeCun, Bottou, Orr & Mueller, 1998, Efficient BackProp, section 4.4.
    """

    gain: ClassVar[float] = 1.0
    family: ClassVar[Literal["squashing"]] = "squashing"

    def __call__(self, z: NDArray, value: NDArray, slope: NDArray) -> None:
        """Fill `value` with f(z) and `slope` with f'(z)."""
        np.tanh(z, out=value)
        np.multiply(value, value, out=slope)
        np.subtract(1, slope, out=slope)

    def curvature(self, z: NDArray, value: NDArray, slope: NDArray) -> NDArray:
        """Return -2 f(z) f'(z)."""
        return -2 * value * slope


@dataclass(frozen=True)
class ReLU:
    """f(z) = max(z, 0),  f' = 1 where z > 0, else 0.

    Nair & Hinton, 2010; gain from He et al., 2015, arXiv:1502.01852, equation 10.
    """

    gain: ClassVar[float] = sqrt(2)
    family: ClassVar[Literal["rectifier"]] = "rectifier"

    def __call__(self, z: NDArray, value: NDArray, slope: NDArray) -> None:
        """Fill `value` with f(z) and `slope` with f'(z)."""
        np.greater(z, 0, out=slope)
        np.multiply(z, slope, out=value)  # np.maximum(z, 0) takes three times as long

    def curvature(self, z: NDArray, value: NDArray, slope: NDArray) -> NDArray:
        """Return 0, also at the kink."""
        return np.zeros_like(z)


@dataclass(frozen=True)
class LeakyReLU:
    """f(z) = z where z > 0, else a z, so that no unit can die;  f' = 1 or a.

    `negative_slope` is a, 0 <= a < 1. Maas, Hannun & Ng, 2013 (a = 0.01); gain from He et al., 2015, arXiv:1502.01852,
    equation 15.
    """

    negative_slope: float = 0.01
    family: ClassVar[Literal["rectifier"]] = "rectifier"

    def __post_init__(self) -> None:
        if not 0 <= self.negative_slope < 1:
            raise ValueError(f"negative_slope is {self.negative_slope}; it must be at least 0 and below 1")

    @property
    def gain(self) -> float:
        """sqrt(2 / (1 + a^2))."""
        return sqrt(2 / (1 + self.negative_slope**2))

    def __call__(self, z: NDArray, value: NDArray, slope: NDArray) -> None:
        """Fill `value` with f(z) and `slope` with f'(z)."""
        np.greater(z, 0, out=slope)
        slope *= 1 - self.negative_slope
        slope += self.negative_slope
        np.multiply(z, slope, out=value)

    def curvature(self, z: NDArray, value: NDArray, slope: NDArray) -> NDArray:
        """Return 0, also at the kink."""
        return np.zeros_like(z)


@dataclass(frozen=True)
class Identity:
    """f(z) = z,  f' = 1: a linear layer."""

    gain: ClassVar[float] = 1.0
    family: ClassVar[Literal["linear"]] = "linear"

    def __call__(self, z: NDArray, value: NDArray, slope: NDArray) -> None:
        """Fill `value` with f(z) and `slope` with f'(z)."""
        np.copyto(value, z)
        slope.fill(1)

    def curvature(self, z: NDArray, value: NDArray, slope: NDArray) -> NDArray:
        """Return 0."""
        return np.zeros_like(z)


def sigmoid(z: NDArray, *, out: NDArray | None = None) -> NDArray:
    """1 / (1 + e^-z), element by element; e^-z may overflow to infinity, whose reciprocal is the right 0."""
    with np.errstate(over="ignore", under="ignore"):
        value = np.negative(z, out=out)
        np.exp(value, out=value)
        value += 1
        return np.reciprocal(value, out=value)
