"""Initial weights: unit normal draws, scaled.

Every replica draws standard normal numbers from its own generator, in one fixed order, whatever the initializer; the
initializer scales them. So the same seed starts every activation and optimizer from the same unit draws. Weights are
drawn layer by layer from one stream, so no two layers share their numbers.

To add one: a frozen dataclass derived from `Initializer` with the method `std`, and a file in `conf/initializer/`.
"""

from dataclasses import dataclass
from math import inf, sqrt

from nnbench.nn.activations import Activation


@dataclass(frozen=True, kw_only=True)
class Initializer:
    """Weights with mean zero and standard deviation `std`; biases with `bias_std`, which is zero unless asked for."""

    bias_std: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.bias_std < inf:
            raise ValueError(f"bias_std is {self.bias_std}; it must be a finite number of at least 0")

    def std(self, fan_in: int, fan_out: int, activation: Activation) -> float:
        """Return the standard deviation of a layer's initial weights, given the activation that follows it."""
        raise TypeError(f"{type(self).__name__} does not say how to scale weights; define std()")


@dataclass(frozen=True, kw_only=True)
class Auto(Initializer):
    """He for the ReLU family, Glorot for sigmoid and tanh, LeCun for linear layers (the output layer is one)."""

    def std(self, fan_in: int, fan_out: int, activation: Activation) -> float:
        """Return the standard deviation of the initializer that suits the activation."""
        suited = {"rectifier": He(), "squashing": Glorot(), "linear": LeCun()}[activation.family]
        return suited.std(fan_in, fan_out, activation)


@dataclass(frozen=True, kw_only=True)
class He(Initializer):
    """gain / sqrt(fan_in): keeps the size of the signal forward through rectifiers.

    He et al., 2015, arXiv:1502.01852, equations 10 and 15.
    """

    def std(self, fan_in: int, fan_out: int, activation: Activation) -> float:
        """Return gain / sqrt(fan_in)."""
        return activation.gain / sqrt(fan_in)


@dataclass(frozen=True, kw_only=True)
class Glorot(Initializer):
    """sqrt(2 / (fan_in + fan_out)): a compromise between the sizes of signal and gradient.

    Glorot & Bengio, 2010, equation 12; normal draws with that variance instead of uniform ones.
    """

    def std(self, fan_in: int, fan_out: int, activation: Activation) -> float:
        """Return sqrt(2 / (fan_in + fan_out))."""
        return sqrt(2 / (fan_in + fan_out))


@dataclass(frozen=True, kw_only=True)
class LeCun(Initializer):
    """1 / sqrt(fan_in): weighted sums of unit inputs have unit size.

    LeCun, Bottou, Orr & Mueller, 1998, Efficient BackProp, equation 16.
    """

    def std(self, fan_in: int, fan_out: int, activation: Activation) -> float:
        """Return 1 / sqrt(fan_in)."""
        return 1 / sqrt(fan_in)


@dataclass(frozen=True, kw_only=True)
class FanOut(Initializer):
    """1 / sqrt(fan_out), the number of units that a layer feeds."""

    def std(self, fan_in: int, fan_out: int, activation: Activation) -> float:
        """Return 1 / sqrt(fan_out)."""
        return 1 / sqrt(fan_out)


@dataclass(frozen=True, kw_only=True)
class Normal(Initializer):
    """N(0, weight_std^2) for every layer, whatever its size: what early code did, kept to show what it costs."""

    weight_std: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.weight_std < inf:
            raise ValueError(f"weight_std is {self.weight_std}; it must be a finite number of at least 0")

    def std(self, fan_in: int, fan_out: int, activation: Activation) -> float:
        """Return `weight_std`."""
        return self.weight_std
