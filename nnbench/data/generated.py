"""Data sets in the plane that are drawn, not measured: small problems that a line cannot solve.

Points are (points, 2). They depend on `data_seed` and the other fields of their class, not on `split_seed`.
To add one, write a class whose `read` passes points and labels to `samples_in_plane`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbench.data.scaling import Scaling
from nnbench.data.source import Samples, Source, require


def samples_in_plane(name: str, points: NDArray, labels: NDArray, num_classes: int = 2) -> Samples:
    """Wrap `points`, (points, 2), and their labels."""
    return Samples(
        name=name,
        origin=name,
        inputs=points.round(6),  # sine and exponential differ in their last bit between processors; the digest must not
        labels=labels,
        class_names=tuple(str(label) for label in range(num_classes)),
        feature_names=("x1", "x2"),
    )


@dataclass(frozen=True, kw_only=True)
class XOR(Source):
    """Pairs of random bits; the class is a xor b.

    The truth table alone, four samples, cannot be split. Without `noise` the pairs repeat its four rows, so that test
    samples equal training samples: the task is then to fit, not to generalise. Rumelhart, Hinton & Williams, 1986.
    """

    num_pairs: int = 3000
    noise: float = 0.0  # standard deviation of what is added to each bit
    data_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("num_pairs", self.num_pairs, self.num_pairs >= 1, "at least 1")
        require("noise", self.noise, 0 <= self.noise < np.inf, "at least 0")
        require("data_seed", self.data_seed, self.data_seed >= 0, "at least 0")

    def read(self) -> Samples:
        """Draw the pairs, then their noise."""
        rng = np.random.default_rng(self.data_seed)
        bits = rng.integers(2, size=(self.num_pairs, 2))
        points = bits + rng.normal(scale=self.noise, size=bits.shape)
        return samples_in_plane("xor", points, bits[:, 0] ^ bits[:, 1])


@dataclass(frozen=True, kw_only=True)
class Moons(Source):
    """Two interleaving half circles, as in scikit-learn's `make_moons`."""

    num_points: int = 1000
    noise: float = 0.2  # standard deviation, in radii of the half circles
    data_seed: int = 0
    scaling: Scaling = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        require("num_points", self.num_points, self.num_points >= 1, "at least 1")
        require("noise", self.noise, 0 <= self.noise < np.inf, "at least 0")
        require("data_seed", self.data_seed, self.data_seed >= 0, "at least 0")

    def read(self) -> Samples:
        """Draw the points."""
        from sklearn.datasets import make_moons

        points, labels = make_moons(self.num_points, noise=self.noise, random_state=self.data_seed)
        return samples_in_plane("moons", points, labels)


@dataclass(frozen=True, kw_only=True)
class Circles(Source):
    """A circle inside a circle, as in scikit-learn's `make_circles`."""

    num_points: int = 1000
    noise: float = 0.1  # standard deviation, in radii of the outer circle
    factor: float = 0.5  # radius of the inner circle
    data_seed: int = 0
    scaling: Scaling = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        require("num_points", self.num_points, self.num_points >= 1, "at least 1")
        require("noise", self.noise, 0 <= self.noise < np.inf, "at least 0")
        require("factor", self.factor, 0 < self.factor < 1, "between 0 and 1")
        require("data_seed", self.data_seed, self.data_seed >= 0, "at least 0")

    def read(self) -> Samples:
        """Draw the points."""
        from sklearn.datasets import make_circles

        points, labels = make_circles(
            self.num_points, noise=self.noise, factor=self.factor, random_state=self.data_seed
        )
        return samples_in_plane("circles", points, labels)


@dataclass(frozen=True, kw_only=True)
class Spirals(Source):
    """Spiral arms around one centre, a class each; the more `turns`, the harder.

    After Lang & Witbrock, 1988, Learning to tell two spirals apart, with random points along the arms.
    """

    num_points: int = 1000
    num_arms: int = 2
    turns: float = 1.5
    noise: float = 0.02  # standard deviation, in lengths of an arm's radius
    data_seed: int = 0
    scaling: Scaling = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        require("num_points", self.num_points, self.num_points >= 1, "at least 1")
        require("num_arms", self.num_arms, self.num_arms >= 2, "at least 2")
        require("turns", self.turns, 0 < self.turns < np.inf, "above 0")
        require("noise", self.noise, 0 <= self.noise < np.inf, "at least 0")
        require("data_seed", self.data_seed, self.data_seed >= 0, "at least 0")

    def read(self) -> Samples:
        """Draw the points."""
        rng = np.random.default_rng(self.data_seed)
        labels = np.arange(self.num_points) % self.num_arms
        # The root spreads the points evenly over the disc; without it half of them crowd the centre.
        radius = np.sqrt(rng.random(self.num_points))  # (points,), 0..1
        angle = 2 * np.pi * (self.turns * radius + labels / self.num_arms)
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        points += rng.normal(scale=self.noise, size=points.shape)
        return samples_in_plane("spirals", points, labels, self.num_arms)
