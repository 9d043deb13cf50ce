"""Raw samples from a file, for a network that is trained already: pictures, tables and arrays.

Inputs are (samples, features) in float64, not scaled. Whatever is wrong with a file is a `DataError` of one line.
"""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnbench.data.dataset import DataError
from nnbench.data.scaling import Scaler

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 50_000_000  # of a picture before it is resized
MOST_BYTES = 50_000_000  # of a table; 10,000 images of MNIST take 20 MB
MOST_NUMBERS = 10_000_000  # of an array; 10,000 images of MNIST are 8 million
SHADES_OF_16_BITS = 65535
MOST_NAMES = 5  # that a line tells


def read_picture(path: Path, shape: tuple[int, int], *, invert: bool) -> tuple[NDArray, list[str]]:
    """Return a picture in shades of grey, 0 to 255, of the given (rows, columns), and what was done to it.

    Transparent pixels are white. `invert` turns dark into bright.
    """
    from PIL import Image, ImageOps

    notes = []
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if opened.width * opened.height > MOST_PIXELS:
                raise DataError(
                    f"{path} has {opened.width} x {opened.height} pixels; make it smaller, {MOST_PIXELS:,} at most"
                )
            if (num_pictures := getattr(opened, "n_frames", 1)) > 1:
                notes.append(f"it is the first of {num_pictures} pictures in the file")
            grey = _grey(path, ImageOps.exif_transpose(opened))
    except DataError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path} has too many pixels; make it smaller, {MOST_PIXELS:,} pixels at most") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give an image, a .csv or an .npy file") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} is no picture that can be read ({reason}); give a PNG or JPEG") from error
    if grey.shape != shape:
        rows, columns = grey.shape
        stretched = "" if rows * shape[1] == columns * shape[0] else ", which changes its proportions"
        notes.append(f"resized from {columns} x {rows} to {shape[1]} x {shape[0]} pixels{stretched}")
        picture = Image.fromarray(grey.astype(np.float32))
        grey = np.asarray(picture.resize(shape[::-1], Image.Resampling.BOX), dtype=np.float64)
    return 255 - grey if invert else grey, notes


def _grey(path: Path, picture: "Image.Image") -> NDArray:
    """Return an image of Pillow's in shades of grey, (rows, columns), 0 to 255 in float64."""
    from PIL import Image

    way_out = "save it with 8 or 16 bits, or as an .npy file of raw numbers"
    if picture.mode.startswith("I"):  # 16 bits, in Pillow's 32
        shades = np.asarray(picture, dtype=np.float64)
        if shades.min() < 0 or shades.max() > SHADES_OF_16_BITS:
            raise DataError(f"{path} has shades from {shades.min():.0f} to {shades.max():.0f}; {way_out}")
        return 255 / SHADES_OF_16_BITS * shades
    if picture.mode == "F":
        raise DataError(f"{path} holds fractions; {way_out}")
    seen = picture.convert("RGBA")
    paper = Image.new("RGBA", seen.size, "white")
    return np.asarray(Image.alpha_composite(paper, seen).convert("L"), dtype=np.float64)


def read_rows(path: Path, feature_names: Sequence[str]) -> tuple[NDArray, list[str]]:
    """Return the rows of a text table with commas, (rows, features), and what was left out of it.

    With a header line, columns are found by their names, in any order; without one they are in the order of training.
    """
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise DataError(f"{path} has {size:,} bytes; give fewer samples, {MOST_BYTES:,} bytes at most")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give an image, a .csv or an .npy file") from error
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read: {str(error).splitlines()[0]}; give text in UTF-8 with commas"
        ) from error
    notes: list[str] = []
    places = list(range(len(feature_names)))
    num_columns = len(feature_names)
    # The names may be numbers themselves, such as those of pixels.
    named = bool(rows) and {name.strip() for name in rows[0][1]} >= set(feature_names)
    if rows and (named or not all(map(_is_number, rows[0][1]))):
        header = [name.strip() for name in rows.pop(0)[1]]
        places, num_columns = _places(path, header, feature_names), len(header)
        unused = [name for name in header if name not in feature_names]
        notes += [f"not used: the {'column' if len(unused) == 1 else 'columns'} {_some(unused)}"] if unused else []
    if not rows:
        raise DataError(f"{path} has no row of numbers; give one for each sample")
    inputs = np.empty((len(rows), len(feature_names)))
    for number, (line, row) in enumerate(rows):
        if len(row) != num_columns:
            raise DataError(f"{path}: line {line} has {len(row)} columns; it must have {num_columns}")
        for feature, place in enumerate(places):
            if not _is_number(row[place]) or not np.isfinite(float(row[place])):
                what = f"{row[place]!r} for {feature_names[feature]}"
                raise DataError(f"{path}: line {line} has {what}; every feature must be a finite number")
            inputs[number, feature] = float(row[place])
    return inputs, notes


def read_array(path: Path, num_features: int, shape: tuple[int, int] | None) -> NDArray:
    """Return the samples of an .npy file, (samples, features); `shape` is that of an image where there is one.

    Taken are (features,), (samples, features), and of images (rows, columns) and (samples, rows, columns).
    """
    try:
        with np.errstate(over="ignore"):
            array = np.lib.format.open_memmap(path, mode="r")  # no pickle, and no memory on the word of a header
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give an image, a .csv or an .npy file") from error
    except Exception as error:  # NumPy raises many kinds for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} is no array that can be read ({reason}); write it with numpy.save") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {array.dtype}; it must hold numbers")
    fits = {"(features,)": array.shape == (num_features,), "(samples, features)": array.shape[1:] == (num_features,)}
    if shape is not None:
        fits |= {"(rows, columns)": array.shape == shape, "(samples, rows, columns)": array.shape[1:] == shape}
    if not any(fits.values()) or not array.size:
        of_images = f", the images {shape[0]} x {shape[1]}" if shape else ""
        raise DataError(
            f"{path} has the shape {array.shape}; it must be {' or '.join(fits)}, with {num_features} features"
            f"{of_images}"
        )
    if array.size > MOST_NUMBERS:
        raise DataError(f"{path} holds {array.size:,} numbers; give fewer samples, {MOST_NUMBERS:,} numbers at most")
    with np.errstate(over="ignore"):
        inputs = np.asarray(array, dtype=np.float64).reshape(-1, num_features)
    if not np.isfinite(inputs).all():
        raise DataError(f"{path} holds numbers that are not finite; every feature must be a finite number")
    return inputs


def scaled(inputs: NDArray, scaler: Scaler, dtype: np.dtype) -> NDArray:
    """Return raw inputs as a network takes them."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = scaler(inputs, dtype)
    if not np.isfinite(result).all():
        raise DataError(f"numbers up to {np.abs(inputs).max():.3g} are too large for {dtype} once they are scaled")
    return result


def _places(path: Path, header: Sequence[str], feature_names: Sequence[str]) -> list[int]:
    """Return where in a header each feature stands."""
    missing = [name for name in feature_names if name not in header]
    if missing:
        raise DataError(f"{path} has no column {_some(missing)}; its header names {_some(header)}")
    if twice := sorted({name for name in feature_names if header.count(name) > 1}):
        raise DataError(f"{path} has the column {_some(twice)} more than once; give each of them once")
    return [header.index(name) for name in feature_names]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _some(names: Sequence[str]) -> str:
    """Return names for a line: the first of many."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(repr, names[:MOST_NAMES])) + more
