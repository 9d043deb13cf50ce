"""Single samples and what the network of a run takes them for: a picture, rows of a table, or a missed test sample.

The store is read, never written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbench.components import ConfigError
from nnbench.data import DataError, raw
from nnbench.data.loading import load
from nnbench.settings import parse
from nnbench.sweep.verify import CannotVerifyError, Target, find
from nnbench.tracking import contents, read, record, store, trained
from nnbench.tracking.record import Record
from nnbench.tracking.trained import Trained

FOLDER = Path("outputs", "predict")  # below the current folder
MOST_SHOWN = 8  # samples of a file
MOST_NAMED = 8  # test samples that a line tells
BRIGHT, DARK = 153, 64  # shades of a border, of 255


class CannotPredictError(Exception):
    """There is no network or no sample; says in a line what is wrong and the way out."""


@dataclass(frozen=True, eq=False)
class _Sample:
    """What is to be classified."""

    inputs: NDArray  # (samples, features), raw
    titles: tuple[str, ...]  # one for each sample
    notes: tuple[str, ...] = ()
    true: int | None = None  # the class of the only sample


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """What a network takes some samples for."""

    cell: str
    seed: int  # of the network, the best of the cell
    titles: tuple[str, ...]
    images: NDArray | None  # (samples, height, width), raw, where the data are images
    shades: tuple[float, float] | None  # the raw numbers of black and white, where the record tells them
    predicted: tuple[str, ...]  # classes
    probabilities: NDArray  # (samples, classes)
    class_names: tuple[str, ...]
    true: str | None  # the class of the only sample, where it is known
    notes: tuple[str, ...]
    file_name: str  # of a picture, without its ending


def predict(
    uri: str,
    run_id: str,
    activation_choices: Mapping[str, Mapping[str, Any]],
    *,
    path: Path | None = None,
    sample: int | None = None,
    invert: bool = False,
) -> Prediction:
    """Classify what a file holds, or the test sample of that place, with the network of a run.

    `run_id` is the id of a cell's run, or a beginning that no other id has. Without a file and a place it is the test
    sample that was missed most often. Raises CannotPredictError.
    """
    _check_options(path, sample, invert=invert)
    try:
        target = find(uri, run_id)
    except CannotVerifyError as error:
        raise CannotPredictError("; ".join(error.problems)) from error
    with TemporaryDirectory(prefix="nnbench-predict-") as temporary:
        cell, network = _fetch(uri, target, Path(temporary))
        best = cell.cell["best_seed"]
        other = f"the run is of seed {target.seed}, but the store keeps the network of the best seed, {best}, alone"
        try:
            samples = _samples(cell, network, activation_choices, path, sample, invert=invert)
            if target.seed not in (None, best):
                samples = replace(samples, notes=(*samples.notes, other))
            return _classified(cell, network, samples, f"{target.cell_run_id[:8]}_{_stem(path, samples)}")
        except DataError as error:
            raise CannotPredictError(str(error)) from error


def draw(prediction: Prediction, path: Path) -> None:
    """Write a PNG with the samples beside their probabilities; raises OSError."""
    from nnbench.analysis.plots import predictions_figure

    true = f", is {prediction.true}" if prediction.true is not None else ""
    figure = predictions_figure(
        prediction.images,
        prediction.probabilities,
        prediction.class_names,
        titles=[
            f"{title}\ntaken for {said}{true}"
            for title, said in zip(prediction.titles, prediction.predicted, strict=True)
        ],
        true=prediction.true,
        shades=prediction.shades,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    contents.write_figure(figure, path)


def _check_options(path: Path | None, sample: int | None, *, invert: bool) -> None:
    if path is not None and sample is not None:
        raise CannotPredictError(f"both the file {path} and --sample {sample} are given; give one of them")
    if invert and (path is None or path.suffix.lower() in (".csv", ".npy")):
        raise CannotPredictError("--invert is for a picture; give the file of one, or leave it out")


def _fetch(uri: str, target: Target, folder: Path) -> tuple[Record, Trained]:
    """Return the record and the network of a cell's run."""
    way_out = "train it again with resume=false"
    try:
        cell = record.read(read.fetch(uri, target.cell_run_id, folder / "cell"))
    except Exception as error:  # of a server, a database, a file: each raises its own kinds
        raise CannotPredictError(f"the record of {target.label} cannot be used ({_line(error)}); {way_out}") from error
    name = cell.identity.label
    if cell.is_baseline:
        raise CannotPredictError(
            f"{name} is a baseline of scikit-learn, of which no model is kept; give the run of a network"
        )
    if cell.status == "diverged":
        raise CannotPredictError(f"all seeds of {name} diverged, so there is no network; give the run of another cell")
    try:
        return cell, trained.fetch(uri, target.cell_run_id, folder)
    except ValueError as error:  # of a part that nnbench does not have, such as a plugin's
        way_out = "only whole networks of nnbench's own activations and losses can be asked"
        raise CannotPredictError(f"the network of {name} cannot be used ({_line(error)}); {way_out}") from error
    except Exception as error:  # never logged, deleted or damaged
        raise CannotPredictError(f"the store has no sound network of {name} ({_line(error)}); {way_out}") from error


def _samples(
    cell: Record,
    network: Trained,
    activation_choices: Mapping[str, Mapping[str, Any]],
    path: Path | None,
    sample: int | None,
    *,
    invert: bool,
) -> _Sample:
    """Return what is to be classified."""
    shape = _image_shape(cell)
    if path is None:
        return _missed(cell, activation_choices, sample)
    if path.suffix.lower() in (".csv", ".npy"):
        if path.suffix.lower() == ".csv":
            inputs, notes = raw.read_rows(path, network.feature_names)
        else:
            inputs, notes = raw.read_array(path, len(network.feature_names), shape), []
        titles = [path.name] if len(inputs) == 1 else [f"{path.name}, row {row + 1}" for row in range(len(inputs))]
        if len(inputs) > MOST_SHOWN:
            notes.append(f"these are the first {MOST_SHOWN} of {len(inputs)} samples")
        return _Sample(inputs[:MOST_SHOWN], tuple(titles[:MOST_SHOWN]), tuple(notes))
    if shape is None:
        raise DataError(
            f"{path} is not a .csv or .npy file, but {cell.identity.label} was trained on "
            f"{cell.cell['dataset']['name']}, no images; give rows of its {len(network.feature_names)} features"
        )
    shades, notes = raw.read_picture(path, shape, invert=invert)
    if _border(shades) > BRIGHT and _border(_known_images(cell)) < DARK:
        hint = "leave out --invert" if invert else "turn it with --invert"
        notes.append(
            f"its border is bright, while the images of {cell.cell['dataset']['name']} are bright on dark; {hint}"
        )
    darkest, brightest = _shades(cell, activation_choices)
    inputs = darkest + shades.reshape(1, -1) / 255 * (brightest - darkest)
    return _Sample(inputs, (path.name,), tuple(notes))


def _missed(cell: Record, activation_choices: Mapping[str, Mapping[str, Any]], sample: int | None) -> _Sample:
    """Return a test sample that the record has an image of."""
    name = cell.cell["dataset"]["name"]
    said = cell.predictions()
    if _image_shape(cell) is None:
        raise DataError(f"{name} are no images, so the record keeps none; give a .csv or .npy file of raw features")
    if not len(said.samples):
        raise DataError("no test sample was missed, so the record keeps no image of one; give the file of a picture")
    if sample is None:
        sample = int(said.samples[0])
    (places,) = np.nonzero(said.samples == sample)
    if not len(places):
        known = ", ".join(map(str, said.samples[:MOST_NAMED]))
        raise DataError(
            f"--sample is {sample}; the record keeps images of {len(said.samples)} test samples that were missed; "
            f"give one of them, such as {known}"
        )
    darkest, brightest = _shades(cell, activation_choices)
    inputs = darkest + said.images[places[0]].reshape(1, -1) / 255 * (brightest - darkest)
    counted = said.predicted[(said.predicted >= 0).all(axis=-1), sample]
    num_missed = int((counted != said.labels[sample]).sum())
    note = f"missed by {num_missed} of {len(counted)} {'seed' if len(counted) == 1 else 'seeds'}"
    return _Sample(inputs, (f"test sample {sample} of {name}",), (note,), int(said.labels[sample]))


def _shades(cell: Record, activation_choices: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
    """Return the raw numbers of black and white; of an old record, which does not tell, by its data."""
    if known := cell.cell["dataset"].get("shades"):
        return known[0], known[1]
    try:
        settings = parse(cell.config, cell.choices, activation_choices)
        return contents.raw_range(load(settings.source, settings.dtype))
    except (ConfigError, DataError) as error:
        raise DataError(
            "the record is from before it told which numbers are black and white, and its data cannot be loaded "
            f"({_line(error)}); give an .npy or .csv file of raw numbers, or train it again with resume=false"
        ) from error


def _classified(cell: Record, network: Trained, samples: _Sample, file_name: str) -> Prediction:
    """Return what the network takes samples for."""
    inputs = raw.scaled(samples.inputs, network.scaler, network.network.params.dtype)
    probabilities = network.network.probabilities(inputs)[0].astype(np.float64)
    names, shape = network.class_names, _image_shape(cell)
    notes = list(samples.notes)
    if not np.allclose(probabilities.sum(axis=-1), 1, atol=0.01):
        notes.append("the loss of this network does not make its outputs sum to 100 %")
    return Prediction(
        cell=cell.identity.label,
        seed=cell.cell["best_seed"],
        titles=samples.titles,
        images=None if shape is None else samples.inputs.reshape(-1, *shape),
        shades=cell.cell["dataset"].get("shades"),
        predicted=tuple(names[label] for label in network.network.predict(inputs)[0]),
        probabilities=probabilities,
        class_names=names,
        true=None if samples.true is None else names[samples.true],
        notes=tuple(notes),
        file_name=file_name,
    )


def _image_shape(cell: Record) -> tuple[int, int] | None:
    """Return the (rows, columns) of the images that a cell was trained on; None if they are none."""
    if not cell.cell["dataset"]["image"]:
        return None
    _, rows, columns = cell.predictions().images.shape
    return rows, columns


def _known_images(cell: Record) -> NDArray:
    """Return some images of the data, (images, height, width), 0 to 255; of an old record those that were missed."""
    samples = cell.samples().images
    return samples if len(samples) else cell.predictions().images


def _border(images: NDArray) -> float:
    """Return the mean shade of the outermost pixels of images, (..., height, width)."""
    inner = np.zeros(images.shape[-2:], dtype=bool)
    inner[1:-1, 1:-1] = True
    edge = images[..., ~inner]
    return float(edge.mean()) if edge.size else float("nan")


def _stem(path: Path | None, samples: _Sample) -> str:
    if path is not None:
        return store.file_name(path.stem)
    return samples.titles[0].split(" of ")[0].replace(" ", "_")


def _line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
