"""What a study says of itself: its question and source, and the bands that its results are to reach.

A band is a range for a number, or a finding of the run doctor, of those cells of the study that it chooses by their
flat settings, see `nnbench.protocol.naming`. It is stated in the study's file before anything is trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from nnbench.protocol.doctor import FINDINGS


@dataclass(frozen=True, kw_only=True)
class About:
    """What a study asks, where the number to reach comes from, and where we differ from that source, and why.

    `explanation` is written when the results are there: why a band is missed, or what they teach.
    """

    question: str
    source: str
    differences: str = ""
    explanation: str = ""


@dataclass(frozen=True, kw_only=True)
class Band:
    """What some cells of a study are to reach: a number from `low` to `high`, or a `finding` of the run doctor.

    `cells` maps settings to the values that the cells must have; without any it is every network. The number is that of
    `metric`, a column of the table of replicas or, together with `epoch`, of the history, `over_seeds`. `published` is
    what the source has. An end that is not given is open.
    """

    cells: dict[str, Any] = field(default_factory=dict)
    metric: str = "test/accuracy"
    epoch: int | None = None
    over_seeds: Literal["mean", "smallest", "largest", "range"] = "mean"  # range: largest less smallest
    published: float | None = None
    low: float | None = None
    high: float | None = None
    finding: str | None = None

    def __post_init__(self) -> None:
        ends = -inf if self.low is None else self.low, inf if self.high is None else self.high
        if self.finding is None and ends == (-inf, inf):
            raise ValueError("low, high and finding are null; give a low or high end of the band, or a finding")
        if self.finding is not None and ends != (-inf, inf):
            raise ValueError(f"finding is {self.finding}, beside an end of a band; make two entries of them")
        if self.finding not in (None, *FINDINGS):
            raise ValueError(f"finding is {self.finding}; it must be one of {', '.join(FINDINGS)}")
        if not self.metric.startswith(("train/", "val/", "test/", "time/", "layer")):
            raise ValueError(f"metric is {self.metric}; it must be one on record, such as test/accuracy or train/loss")
        if not ends[0] <= ends[1]:
            raise ValueError(f"low is {self.low}, which is above high, {self.high}")
        if self.epoch is not None and self.epoch < 1:
            raise ValueError(f"epoch is {self.epoch}; it must be at least 1")

    def chooses(self, settings: Mapping[str, Any]) -> bool:
        """Whether the band is about the network with these flat settings."""
        return "optimizer" in settings and all(
            name in settings and settings[name] == value for name, value in self.cells.items()
        )

    def holds(self, number: float) -> bool:
        """Whether a number lies in the band, its ends included."""
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)
