"""What validation says of trained replicas: the scores of the selected parameters, targets, the anytime score."""

import numpy as np
from numpy.typing import NDArray

from nnbench.protocol.stack import Trained


def selected_scores(trained: Trained, num_classes: int) -> dict[str, NDArray]:
    """Return loss and accuracy on training and validation at the selected epoch, and that epoch, (replicas,) each.

    A diverged replica has no parameters to speak of: it is scored at chance level, and its loss is not a number.
    """
    epochs = np.maximum(trained.selected_epoch, 1) - 1
    places = np.arange(len(trained.seeds))
    scores = {
        f"{split}/selected_{metric}": trained.history[f"{split}/{metric}"][epochs, places]
        for split in ("train", "val")
        for metric in ("loss", "accuracy")
    }
    for name, values in scores.items():
        values[trained.diverged] = 1 / num_classes if name.endswith("accuracy") else np.nan
    scores["val/selected_epoch"] = np.where(trained.diverged, np.nan, trained.selected_epoch)
    return scores


def clocks(trained: Trained) -> dict[str, NDArray]:
    """Return what each replica took and where it ended, (replicas,) each; not a number where that did not happen."""
    return {
        "train/gradient_evaluations": trained.gradient_evaluations.astype(float),
        "train/stopped_epoch": np.where(trained.stopped_epoch >= 0, trained.stopped_epoch, np.nan),
        "train/diverged_step": np.where(trained.diverged, trained.diverged_step, np.nan),
    }


def accuracy_area(trained: Trained, num_epochs: int, num_classes: int) -> NDArray:
    """Return the area under each validation curve over the planned epochs, as a mean accuracy, (replicas,).

    An anytime score: what one can expect of a training that is cut short at some epoch. A replica that has stopped
    keeps its last accuracy, one that has diverged is at chance level from then on.
    """
    areas = np.empty(len(trained.seeds))
    for place, curve in enumerate(np.ascontiguousarray(trained.history["val/accuracy"].T)):
        stopped = trained.stopped_epoch[place] >= 0
        end = trained.stopped_epoch[place] if stopped else np.count_nonzero(np.isfinite(curve))
        level = curve[end - 1] if stopped else 1 / num_classes
        areas[place] = (curve[:end].sum() + (num_epochs - end) * level) / num_epochs
    return areas


def time_to_target(trained: Trained, target_accuracy: float | None) -> dict[str, NDArray]:
    """Return epochs, gradient evaluations and seconds of the stack until validation met the target.

    A miss is infinity; without a target there is nothing to say.
    """
    if target_accuracy is None:
        return {}
    met = trained.history["val/accuracy"] >= target_accuracy  # (epochs, replicas)
    first, ever = met.argmax(axis=0), met.any(axis=0)
    places = np.arange(len(first))
    times = {
        "val/target_epoch": first + 1.0,
        "val/target_gradient_evaluations": trained.history["train/gradient_evaluations"][first, places],
        "time/target_seconds": trained.history["time/train_seconds"][first, places],
    }
    return {name: np.where(ever, values, np.inf) for name, values in times.items()}
