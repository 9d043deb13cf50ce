"""Whether a network that is sure to 80 % is right in 80 % of such cases."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NUM_BINS = 15  # as in the paper's experiments


def reliability(probabilities: NDArray, labels: NDArray, *, num_bins: int = NUM_BINS) -> pd.DataFrame:
    """Return one row for each bin of equal width between 0 and 1: what the network said of itself, and what was right.

    `probabilities` is (samples, classes), `labels` is (samples,), integers from 0. Columns: `bin_low` and `bin_high`,
    of which the high end belongs to the bin; `confidence`, the mean probability of the class that the network chose;
    `accuracy`, how often that was right; `count`, the samples. An empty bin has count 0 and is not a number otherwise.
    Raises ValueError for samples without a probability, as those of a diverged replica, and for unequal numbers.

    Guo et al., 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599, section 2.
    """
    if len(probabilities) != len(labels):
        raise ValueError(
            f"there are {len(probabilities)} rows of probabilities for {len(labels)} labels; give one each"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("some probabilities are not finite; leave diverged replicas out")
    confidences = probabilities.max(axis=-1).astype(float)  # (samples,)
    correct = probabilities.argmax(axis=-1) == labels
    edges = np.linspace(0, 1, num_bins + 1)
    # By the edges themselves, as confidence * num_bins may be rounded across one; float32 may end just above 1.
    bins = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is what an empty bin has
        confidence = np.bincount(bins, weights=confidences, minlength=num_bins) / counts
        accuracy = np.bincount(bins, weights=correct, minlength=num_bins) / counts
    return pd.DataFrame(
        {
            "bin_low": edges[:-1],
            "bin_high": edges[1:],
            "confidence": confidence,
            "accuracy": accuracy,
            "count": counts,
        }
    )


def calibration_error(bins: pd.DataFrame) -> float:
    """Return the expected calibration error of a table of `reliability`: the mean gap, each sample counting once.

        sum over bins of count / samples |accuracy - confidence|

    Guo et al., 2017, arXiv:1706.04599, equation 3. Not a number without samples.
    """
    errors = calibration_errors(bins.assign(cell="", seed=0))["calibration_error"]
    return float(errors.iloc[0]) if len(errors) else np.nan


def calibration_errors(bins: pd.DataFrame) -> pd.DataFrame:
    """Return the same for many replicas at once, one row for each: cell, seed, calibration_error, and two means.

    `bins` has the tables of `reliability` below each other, with the columns cell and seed. `confidence` and `accuracy`
    are the means over the samples. A replica without samples has no row.
    """
    filled = bins[bins["count"] > 0]
    per_sample = {
        "calibration_error": (filled["accuracy"] - filled["confidence"]).abs(),
        "confidence": filled["confidence"],
        "accuracy": filled["accuracy"],
    }
    weighted = filled[["cell", "seed", "count"]].assign(
        **{name: values * filled["count"] for name, values in per_sample.items()}
    )
    sums = weighted.groupby(["cell", "seed"], sort=False, observed=True).sum()
    return sums[list(per_sample)].div(sums["count"], axis="index").reset_index()
