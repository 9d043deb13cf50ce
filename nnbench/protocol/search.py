"""Where tuning looks: the trials of a search, from the space that an optimizer's yaml declares.

A search says which hyperparameters to try and on which seeds; `nnbench.protocol.tuning` trains and judges them. Every
optimizer gets the same number of trials. To add one: a frozen dataclass with the members of `Search`, and a file in
`conf/tuning/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import exp, inf, log
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np

Trial: TypeAlias = dict[str, float]  # hyperparameter -> value
FIRST_TUNING_SEED = 1_000_000  # beyond every count of seeds, so that the final seeds are fresh
END_OF_SEEDS = 2**53  # whole numbers from there on are not all numbers of every file format
BEYOND = 2  # values that an extension adds to a grid
FARTHEST = 700  # natural logarithm of the largest learning rate, and of the inverse of the smallest
MOST_TRIALS, MOST_EXTENSIONS = 10_000, 10
DIGITS = 6  # significant digits of a value, so that people can read and repeat it


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where a hyperparameter may lie, and on which scale its values are spread evenly.

    "log" spreads log(value), "log_complement" log(1 - value), for averages such as momentum, of which 0.9 is as far
    from 0.99 as 0.99 from 0.999 (Choi et al., 2019, arXiv:1910.05446, appendix D), "linear" the value itself.
    """

    low: float
    high: float
    scale: Literal["log", "log_complement", "linear"] = "log"

    def __post_init__(self) -> None:
        if not -inf < self.low < self.high < inf:
            raise ValueError(f"low is {self.low} and high is {self.high}; low must be below high, and both finite")
        if self.scale == "log" and not self.low > 0:
            raise ValueError(f"low is {self.low}; on a log scale it must be above 0")
        if self.scale == "log_complement" and not self.high < 1:
            raise ValueError(f"high is {self.high}; on a log_complement scale it must be below 1")

    def at(self, fraction: float) -> float:
        """Return the value at a fraction of the way from low (0) to high (1), rounded for people."""
        match self.scale:
            case "log":
                return _rounded(exp((1 - fraction) * log(self.low) + fraction * log(self.high)))
            case "log_complement":
                complement = (1 - self.low) * ((1 - self.high) / (1 - self.low)) ** fraction
                return float(1 - Decimal(f"{complement:.{DIGITS}g}"))  # in decimals: 1 - 0.9 is 0.1
            case _:
                return _rounded(self.low + (self.high - self.low) * fraction)


class Search(Protocol):
    """What tuning needs of a search."""

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """Seeds that every trial is trained with; none of them may be a final seed."""

    @property
    def max_extensions(self) -> int:
        """How often the search may be extended."""

    def trials(self, space: Mapping[str, Range]) -> list[Trial]:
        """Return the trials, at least one."""

    def beyond(self, space: Mapping[str, Range], trials: Sequence[Trial], best: Trial) -> list[Trial]:
        """Return further trials where the best of those so far lies on the edge, else none."""


@dataclass(frozen=True, kw_only=True)
class LearningRateGrid:
    """Learning rates evenly spaced on a log scale; all other hyperparameters keep their configured values.

    `seeds` is a number of tuning seeds, or a list. A best value on the edge extends the grid by two values at the same
    spacing, at most `max_extensions` times.
    """

    num_trials: int = 7
    seeds: int | tuple[int, ...] = 3
    max_extensions: int = 2

    def __post_init__(self) -> None:
        if not 3 <= self.num_trials <= MOST_TRIALS:
            raise ValueError(
                f"num_trials is {self.num_trials}; it must be 3 to {MOST_TRIALS}: with fewer the grid is all edge"
            )
        if not 0 <= self.max_extensions <= MOST_EXTENSIONS:
            raise ValueError(f"max_extensions is {self.max_extensions}; it must be 0 to {MOST_EXTENSIONS}")
        _check_seeds(self.seeds)

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """Seeds that every trial is trained with."""
        return _tuning_seeds(self.seeds)

    def trials(self, space: Mapping[str, Range]) -> list[Trial]:
        """Return the learning rates of the grid, ascending."""
        places = np.linspace(0, 1, self.num_trials)
        return [{"learning_rate": space["learning_rate"].at(place)} for place in places]

    def beyond(self, space: Mapping[str, Range], trials: Sequence[Trial], best: Trial) -> list[Trial]:
        """Return two more learning rates on the side of the best one, none if it lies inside."""
        rates = [trial["learning_rate"] for trial in trials]
        low, high = space["learning_rate"].low, space["learning_rate"].high
        spacing = (log(high) - log(low)) / (self.num_trials - 1)
        if best["learning_rate"] == min(rates):
            further = [log(min(rates)) - step * spacing for step in range(1, BEYOND + 1)]
        elif best["learning_rate"] == max(rates):
            further = [log(max(rates)) + step * spacing for step in range(1, BEYOND + 1)]
        else:
            return []
        return [{"learning_rate": _rounded(exp(rate))} for rate in further if abs(rate) < FARTHEST]


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Random draws from the whole space (Bergstra & Bengio, 2012, JMLR 13), the learning rate first.

    The unit draws depend on `draw_seed` alone, so that optimizers with the same hyperparameters try the same values.
    """

    num_trials: int = 20
    seeds: int | tuple[int, ...] = 3
    draw_seed: int = 0
    max_extensions: ClassVar[int] = 0  # random draws have no edge

    def __post_init__(self) -> None:
        if not 1 <= self.num_trials <= MOST_TRIALS:
            raise ValueError(f"num_trials is {self.num_trials}; it must be 1 to {MOST_TRIALS}")
        if not 0 <= self.draw_seed < END_OF_SEEDS:
            raise ValueError(f"draw_seed is {self.draw_seed}; it must be at least 0 and below 2^53")
        _check_seeds(self.seeds)

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """Seeds that every trial is trained with."""
        return _tuning_seeds(self.seeds)

    def trials(self, space: Mapping[str, Range]) -> list[Trial]:
        """Return the draws."""
        rng = np.random.default_rng(self.draw_seed)
        names = sorted(space, key=lambda name: (name != "learning_rate", name))
        draws = {name: rng.random(self.num_trials) for name in names}
        return [{name: space[name].at(draws[name][trial]) for name in names} for trial in range(self.num_trials)]

    def beyond(self, space: Mapping[str, Range], trials: Sequence[Trial], best: Trial) -> list[Trial]:
        """Return none."""
        return []


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _tuning_seeds(seeds: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the seeds that a count or a list stands for."""
    return tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds)) if isinstance(seeds, int) else tuple(seeds)


def _check_seeds(seeds: int | tuple[int, ...]) -> None:
    if isinstance(seeds, int):
        if not 1 <= seeds <= 1000:
            raise ValueError(f"seeds is {seeds}; it must be a number from 1 to 1000, or a list of seeds")
    elif not seeds or min(seeds) < 0 or max(seeds) >= END_OF_SEEDS or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is {list(seeds)}; it must be a list of different seeds, each from 0 to below 2^53")
