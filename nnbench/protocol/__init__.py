"""How a comparison is made honest: cells, seeds, tuning, selection on validation, one look at the test split.

The names below are those that `conf/tuning/` may give as `_target_`.
"""

from nnbench.protocol.search import LearningRateGrid, RandomSearch

__all__ = ["LearningRateGrid", "RandomSearch"]
