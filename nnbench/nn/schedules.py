"""Learning-rate schedules: a factor on the learning rate, as a function of the epochs done.

`epoch` is a fraction: 2.5 is half-way through the third epoch, so a schedule is the same for every batch size.

To add one: a frozen dataclass with `__call__`, and a file in `conf/schedule/` that names it.
"""

from dataclasses import dataclass
from math import cos, inf, pi
from typing import Protocol


class Schedule(Protocol):
    """What training needs of a schedule."""

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """Return the factor on the learning rate after `epoch` of `num_epochs` epochs."""


@dataclass(frozen=True)
class Constant:
    """The learning rate stays as it is."""

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Step:
    """The learning rate is multiplied by `factor` every `every` epochs.

    As in He et al., 2016, arXiv:1512.03385, section 3.4, which divides by 10.
    """

    every: int = 10
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not self.every >= 1:
            raise ValueError(f"every is {self.every}; it must be at least 1 epoch")
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor is {self.factor}; it must be above 0 and at most 1")

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """Return factor^floor(epoch / every)."""
        return self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential:
    """The learning rate is multiplied by `factor` in the course of each epoch, smoothly."""

    factor: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor is {self.factor}; it must be above 0 and at most 1")

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """Return factor^epoch."""
        return self.factor**epoch


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 down to `final`, over the whole training.

    Loshchilov & Hutter, 2017, arXiv:1608.03983, equation 5, without restarts.
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.final <= 1:
            raise ValueError(f"final is {self.final}; it must be between 0 and 1")

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """Return final + (1 - final) (1 + cos(pi epoch / num_epochs)) / 2."""
        return self.final + (1 - self.final) * (1 + cos(pi * min(epoch / num_epochs, 1))) / 2


@dataclass(frozen=True)
class Warmup:
    """The learning rate rises linearly from `start` to 1 in the first `warmup_epochs` epochs, then stays.

    Goyal et al., 2017, arXiv:1706.02677, section 2.2.
    """

    warmup_epochs: float = 5
    start: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.warmup_epochs < inf:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}; it must be a finite number above 0")
        if not 0 <= self.start <= 1:
            raise ValueError(f"start is {self.start}; it must be between 0 and 1")

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """Return start + (1 - start) min(epoch / warmup_epochs, 1)."""
        return self.start + (1 - self.start) * min(epoch / self.warmup_epochs, 1)
