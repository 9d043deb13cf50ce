"""Plots: they draw on the axes that they are given, they never load, save or make figures.

A colour and a marker belong to an optimizer and a line style to an activation, everywhere; see `look`. To add a plot:
a function in the file of its topic, with its name below.
"""

from nnbench.analysis.plots.baselines import baselines
from nnbench.analysis.plots.calibration import reliability, reliability_points
from nnbench.analysis.plots.comparison import accuracy_points, heatmap, paired_differences
from nnbench.analysis.plots.confusion import (
    confusion_difference,
    confusion_matrix,
    confusion_matrix_figure,
    missed_images,
)
from nnbench.analysis.plots.curves import has_curve, learning_curves, on_one_scale, time_to_target
from nnbench.analysis.plots.data import class_counts, data_set, data_set_figure, sample_images
from nnbench.analysis.plots.diagnostics import gradient_flow, idle_units
from nnbench.analysis.plots.look import (
    ACTIVATIONS,
    AXIS_LABELS,
    COLOURS,
    DASHES,
    MARKERS,
    OPTIMIZERS,
    colour_by_optimizer,
    dashes_by_activation,
    marker_by_optimizer,
    plain,
)
from nnbench.analysis.plots.methods import critical_differences, interquartile_means, profile, variance_shares
from nnbench.analysis.plots.panels import small_multiples
from nnbench.analysis.plots.predictions import class_probabilities, predictions_figure
from nnbench.analysis.plots.tuning import learning_rates, price_of_tuning

__all__ = [
    "ACTIVATIONS",
    "AXIS_LABELS",
    "COLOURS",
    "DASHES",
    "MARKERS",
    "OPTIMIZERS",
    "accuracy_points",
    "baselines",
    "class_counts",
    "class_probabilities",
    "colour_by_optimizer",
    "confusion_difference",
    "confusion_matrix",
    "confusion_matrix_figure",
    "critical_differences",
    "dashes_by_activation",
    "data_set",
    "data_set_figure",
    "gradient_flow",
    "has_curve",
    "heatmap",
    "idle_units",
    "interquartile_means",
    "learning_curves",
    "learning_rates",
    "marker_by_optimizer",
    "missed_images",
    "on_one_scale",
    "paired_differences",
    "plain",
    "predictions_figure",
    "price_of_tuning",
    "profile",
    "reliability",
    "reliability_points",
    "sample_images",
    "small_multiples",
    "time_to_target",
    "variance_shares",
]
