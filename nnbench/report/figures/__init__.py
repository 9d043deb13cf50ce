"""The figures of a report: each call draws one for each data set.

Where there is nothing to draw, a figure or the table beside it says so in a line.

To add one: a function in the file of its topic, its name below, and a cell in `template.py`.
"""

from nnbench.report.figures.curves import learning_curves, profile, time_to_target, update_rules
from nnbench.report.figures.data import data_sets
from nnbench.report.figures.errors import calibration, confusion, confusion_matrix, missed_images
from nnbench.report.figures.layers import layers
from nnbench.report.figures.methods import interquartile_means, ranks, variance_shares
from nnbench.report.figures.scores import accuracies, baselines, differences, heatmap
from nnbench.report.figures.tuning import learning_rates, price_of_tuning

__all__ = [
    "accuracies",
    "baselines",
    "calibration",
    "confusion",
    "confusion_matrix",
    "data_sets",
    "differences",
    "heatmap",
    "interquartile_means",
    "layers",
    "learning_curves",
    "learning_rates",
    "missed_images",
    "price_of_tuning",
    "profile",
    "ranks",
    "time_to_target",
    "update_rules",
    "variance_shares",
]
