"""What makes a comparison honest: cells, seeds, tuning, selection on validation, one look at the test split.

The names below are those that `conf/tuning/` and `conf/model/` may give as `_target_`.
"""

from nnbench.protocol.baselines import (
    KNN,
    SVM,
    Dummy,
    GradientBoosting,
    LogisticRegression,
    MLPClassifier,
    RandomForest,
)
from nnbench.protocol.search import LearningRateGrid, RandomSearch

__all__ = [
    "KNN",
    "SVM",
    "Dummy",
    "GradientBoosting",
    "LearningRateGrid",
    "LogisticRegression",
    "MLPClassifier",
    "RandomForest",
    "RandomSearch",
]
