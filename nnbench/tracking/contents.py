"""What a record holds of a result: facts for `cell.json`, tables, predictions, pictures, the network.

To keep one more thing: write it here, and read it in `record.Record`.
"""

import inspect
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset
from nnbench.protocol.baselines import BaselineResult
from nnbench.protocol.evaluation import TestScores
from nnbench.protocol.result import CellResult, Scores

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS = "predictions.npz"
SAMPLES = "samples.npz"
MODEL = "model"  # the folder of the best replica's network
NETWORK = f"{MODEL}/network.npz"
MOST_IMAGES = 500  # of those that were missed; 8-bit pictures of 28 x 28 pixels then take 0.4 MB
BLOCK = 1024  # samples whose raw numbers are in memory at once
SPLITS = ("train", "validation", "test")
MOST_SAMPLES = 100  # images of the training split
MOST_OF_CLASS = 8
MOST_CLASSES = 25  # of which images are kept, so that there are several of each


def facts_of_network(result: CellResult) -> dict[str, Any]:
    """Return what JSON can hold of a cell of networks."""
    trained = result.final.trained
    return {
        "status": result.status,
        "best_seed": trained.seeds[result.final.best_replica],
        "train_seconds": trained.train_seconds,
        "evaluation_seconds": result.final.evaluation_seconds,
        "diagnostics_seconds": trained.diagnostics_seconds,
        "optimizer_seconds_per_step": trained.optimizer_seconds_per_step,
        "test_openings": result.test_openings,
        "finding": asdict(result.finding),
        "update_rule": inspect.getdoc(trained.optimizer) or "",
        "tuning": _tuning_facts(result),
    }


def effective_batch_size(batch_size: int | str, num_train: int) -> int:
    """Return how many samples a step takes: never more than there are."""
    return num_train if batch_size == "full" else min(int(batch_size), num_train)


def facts_of_baseline(result: BaselineResult) -> dict[str, Any]:
    """Return what JSON can hold of a baseline."""
    return {
        "status": result.status,
        "draws": result.model.draws,
        "num_fits": result.num_fits,
        "description": inspect.getdoc(type(result.model)) or "",
        "train_seconds": result.fit_seconds,
        "evaluation_seconds": result.predict_seconds,
        "test_openings": result.num_fits,
        "warnings": list(result.warnings),
        "finding": None,
        "tuning": None,
    }


def facts_of_data(dataset: Dataset) -> dict[str, Any]:
    """Return what JSON can hold of a data set."""
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "image": dataset.image_shape is not None,
        "features": dataset.num_features,
        "classes": list(dataset.class_names),
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
        "counts": class_counts(dataset),
        "shades": None if dataset.image_shape is None else raw_range(dataset),
        "warnings": list(dataset.warnings),
    }


def class_counts(dataset: Dataset) -> dict[str, list[int]]:
    """Return how many samples of each class each split has, in the order of the classes."""
    return {name: np.bincount(getattr(dataset, name).labels, minlength=dataset.num_classes).tolist() for name in SPLITS}


def raw_range(dataset: Dataset) -> tuple[float, float]:
    """Return the smallest and the largest raw number of the test split: of images the darkest and the brightest."""
    darkest, brightest = np.inf, -np.inf
    for start in range(0, len(dataset.test), BLOCK):
        raw = dataset.scaler.inverse(dataset.test.inputs[start : start + BLOCK])
        darkest, brightest = min(darkest, raw.min()), max(brightest, raw.max())
    return float(darkest), float(brightest)


def sample_images(dataset: Dataset) -> tuple[NDArray, NDArray]:
    """Return the first images of each class of the training split, and their labels, class by class.

    There are (images, height, width) in 256 shades, which span the range of these images, and (images,) labels; at most
    8 of a class and 100 in all, so of many classes the first 25 have some. None where the data are no images.
    """
    labels = dataset.train.labels
    if dataset.image_shape is None:
        return np.empty((0, 0, 0), np.uint8), np.empty(0, np.int32)
    present = np.unique(labels)[:MOST_CLASSES]
    each = min(MOST_OF_CLASS, MOST_SAMPLES // len(present))
    rows = np.concatenate([np.flatnonzero(labels == label)[:each] for label in present])
    raw = dataset.scaler.inverse(dataset.train.inputs[rows])
    return _shades(raw, raw.min(), raw.max()).reshape(-1, *dataset.image_shape), labels[rows].astype(np.int32)


def write_network(folder: Path, dataset: Dataset, *, result: CellResult) -> None:
    """Write all that a cell of networks leaves: replicas, tuning, history, test split, samples, best network."""
    final = result.final
    _write_csv(_replicas(final), folder / "replicas.csv")
    if result.tuning is not None and result.untuned is not None:
        _write_csv(result.tuning.table, folder / "tuning.csv")
        _write_csv(_replicas(result.untuned), folder / "untuned.csv")
    history_table(final.trained.seeds, final.trained.history).to_parquet(folder / "history.parquet", index=False)
    _write_test_split(folder, dataset, final.trained.seeds, final.test)
    _write_samples(folder, dataset)
    if result.status == "finished":
        _write_model(folder, dataset, result)


def write_baseline(folder: Path, dataset: Dataset, *, result: BaselineResult) -> None:
    """Write all that a baseline leaves: tables of replicas and test split, samples."""
    statuses = [result.status] * len(result.seeds)
    _write_csv({"seed": result.seeds, "status": statuses, **result.summary}, folder / "replicas.csv")
    _write_test_split(folder, dataset, result.seeds, result.test)
    _write_samples(folder, dataset)


def history_table(seeds: Sequence[int], history: Mapping[str, NDArray]) -> "pd.DataFrame":
    """Return one row for each replica and epoch, one column for each metric, from metric -> (epochs, replicas)."""
    import pandas as pd

    num_epochs = len(next(iter(history.values())))
    places = pd.MultiIndex.from_product([seeds, range(1, num_epochs + 1)], names=["seed", "epoch"])
    return pd.DataFrame({name: values.T.ravel() for name, values in history.items()}, index=places).reset_index()


def score_divergence(history: "pd.DataFrame", chance: float) -> "pd.DataFrame":
    """Return curves in which the accuracies of diverged replicas are at chance level, as their scores are."""
    return history.assign(**{name: history[name].fillna(chance) for name in history if name.endswith("/accuracy")})


def write_json(path: Path, content: Any) -> None:
    """Write JSON that people can read, too; numbers that are not finite are refused."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_figure(figure: Any, path: Path) -> None:
    """Write a figure of `nnbench.analysis.plots`, in whose text may be characters that no font has; raises OSError."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # such as an emoji in the name of a class
        figure.savefig(path, dpi=100)


def _tuning_facts(result: CellResult) -> dict[str, Any] | None:
    """Return what tuning chose and cost."""
    if result.tuning is None:
        return None
    return {
        "chosen": result.tuning.chosen,
        "num_trials": result.tuning.num_trials,
        "num_trainings": len(result.tuning.table["seed"]),
        "num_extensions": result.tuning.num_extensions,
        "at_edge": result.tuning.at_edge,
        "gradient_evaluations": result.tuning.gradient_evaluations,
        "train_seconds": result.tuning.train_seconds,
    }


def _replicas(scores: Scores) -> dict[str, Any]:
    return {"seed": scores.trained.seeds, "status": scores.statuses, **scores.summary}


def _write_csv(table: Mapping[str, Any], path: Path) -> None:
    import pandas as pd

    pd.DataFrame(table).to_csv(path, index=False, na_rep="nan")


def _write_test_split(folder: Path, dataset: Dataset, seeds: Sequence[int], scores: TestScores) -> None:
    """Write scores by class, confusion counts and their picture, calibration, predictions and missed images."""
    import pandas as pd

    from nnbench.analysis.missed import most_missed

    places = pd.MultiIndex.from_product([seeds, dataset.class_names], names=["seed", "class"])
    classes = pd.DataFrame({name: values.ravel() for name, values in scores.by_class.items()}, index=places)
    classes["support"] = np.tile(np.bincount(dataset.test.labels, minlength=dataset.num_classes), len(seeds))
    classes.reset_index().to_csv(folder / "classes.csv", index=False)

    _write_confusion(folder, dataset, scores)
    _write_calibration(folder, dataset, seeds, scores)
    missed = most_missed(dataset.test.labels, scores.predictions, dataset.class_names)["sample"].to_numpy()
    samples = missed[: 0 if dataset.image_shape is None else MOST_IMAGES]
    np.savez_compressed(
        folder / PREDICTIONS,
        seeds=np.asarray(seeds),
        labels=dataset.test.labels.astype(np.int32),
        predicted=scores.predictions.astype(np.int32),
        samples=samples,
        images=_pictures(dataset, samples),
    )


def read_ahead() -> None:
    """Import what a record is made with, for the processes that are forked from this one, by making some of it."""
    import pandas as pd

    from nnbench.analysis import calibration, missed  # noqa: F401
    from nnbench.analysis.plots import confusion_matrix_figure

    counts = pd.DataFrame({name: [1, 1] for name in "ab"}, index=["a", "b"])
    with tempfile.TemporaryDirectory() as folder:
        write_figure(confusion_matrix_figure(counts, title=""), Path(folder, "picture.png"))
        counts.to_parquet(Path(folder, "table.parquet"))


def _write_confusion(folder: Path, dataset: Dataset, scores: TestScores) -> None:
    """Write the confusion matrix, counts summed over the replicas; row = true class, column = predicted class."""
    import pandas as pd

    from nnbench.analysis.plots import confusion_matrix_figure

    names = list(dataset.class_names)
    counts = pd.DataFrame(scores.confusion.sum(axis=0), index=pd.Index(names, name="true class"), columns=names)
    counts.to_csv(folder / "confusion_matrix.csv")
    finished = int((scores.predictions >= 0).all(axis=-1).sum())
    if finished:
        title = f"{dataset.name}, test split, {finished} {'seed' if finished == 1 else 'seeds'} together"
        write_figure(confusion_matrix_figure(counts, title=title), folder / "confusion_matrix.png")


def _write_calibration(folder: Path, dataset: Dataset, seeds: Sequence[int], scores: TestScores) -> None:
    """Write the bins of confidence of each replica that has probabilities."""
    import pandas as pd

    from nnbench.analysis.calibration import reliability

    if scores.probabilities is None:
        return
    bins = [
        reliability(probabilities, dataset.test.labels).assign(seed=seed)
        for seed, probabilities in zip(seeds, scores.probabilities, strict=True)
        if np.isfinite(probabilities).all()
    ]
    if bins:
        _write_csv(pd.concat(bins, ignore_index=True), folder / "calibration.csv")


def _pictures(dataset: Dataset, samples: NDArray) -> NDArray:
    """Return samples of the test split as images in 256 shades, (samples, height, width); none if they are no images.

    The shades span the range of the whole test split.
    """
    if dataset.image_shape is None:
        return np.empty((0, 0, 0), np.uint8)
    raw = dataset.scaler.inverse(dataset.test.inputs[samples])
    return _shades(raw, *raw_range(dataset)).reshape(-1, *dataset.image_shape)


def _shades(raw: NDArray, darkest: float, brightest: float) -> NDArray:
    """Return raw inputs in 256 shades."""
    return np.rint(255 * (raw - darkest) / max(brightest - darkest, np.finfo(np.float64).tiny)).astype(np.uint8)


def _write_samples(folder: Path, dataset: Dataset) -> None:
    """Write sample images, if the data are images."""
    if dataset.image_shape is not None:
        images, labels = sample_images(dataset)
        np.savez_compressed(folder / SAMPLES, images=images, labels=labels)


def _write_model(folder: Path, dataset: Dataset, result: CellResult) -> None:
    """Write the best replica's network with all that a raw sample needs to be classified."""
    model = result.model.with_params(result.model.params[[result.final.best_replica]])
    (folder / MODEL).mkdir()
    model.save(folder / NETWORK)
    dataset.scaler.save(folder / MODEL / "scaler.npz")
    names = {"classes": list(dataset.class_names), "features": list(dataset.feature_names)}
    write_json(folder / MODEL / "names.json", names)
