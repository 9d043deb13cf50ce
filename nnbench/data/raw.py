"""Raw samples from a file, for a network that is trained already: pictures, tables and arrays.

Inputs are (samples, features) in float64, not scaled. Whatever is wrong with a file is a `DataError` of one line.
"""

import csv
import warnings
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbench.data.dataset import DataError
from nnbench.data.npy import read_npy
from nnbench.data.scaling import Scaler
from nnbench.data.tables import first_line, is_number, shortened

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 50_000_000  # of a picture before it is resized
MOST_BYTES = 50_000_000  # of a picture or a table; 10,000 images of MNIST take 20 MB
MOST_NUMBERS = 10_000_000  # of a table or an array; 10,000 images of MNIST are 8 million
NUMBER_BYTES = 16  # of the widest type
# Not EPS, which Pillow hands to Ghostscript, which runs it as a program.
PICTURE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
SHADES_OF_16_BITS = 65535
MOST_NAMES = 5  # that a line tells


def read_picture(path: Path, shape: tuple[int, int], *, invert: bool) -> tuple[NDArray, list[str]]:
    """Return a picture in shades of grey, 0 to 255, of the given (rows, columns), and what was done to it.

    Transparent pixels are white. `invert` turns dark into bright.
    """
    from PIL import Image, ImageOps

    notes = []
    try:
        check_size(path)
        with open_picture(path) as unread:
            unread.verify()  # compares the checksums of a PNG, which reading alone does not
        with open_picture(path) as opened:
            if (num_pictures := getattr(opened, "n_frames", 1)) > 1:
                notes.append(f"it is the first of {num_pictures} pictures in the file")
            grey = _grey(path, ImageOps.exif_transpose(opened))
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give an image, a .csv or an .npy file") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        reason = getattr(error, "strerror", None) or first_line(error)
        raise DataError(f"{path} is no picture that can be read ({reason}); give a PNG or JPEG") from error
    if grey.size != shape[::-1]:
        rows, columns = grey.height, grey.width
        stretched = "" if rows * shape[1] == columns * shape[0] else ", which changes its proportions"
        notes.append(f"resized from {columns} x {rows} to {shape[1]} x {shape[0]} pixels{stretched}")
        grey = grey.resize(shape[::-1], Image.Resampling.BOX)
    shades = np.asarray(grey, dtype=np.float64)
    return 255 - shades if invert else shades, notes


def open_picture(path: Path) -> "Image.Image":
    """Open a picture without reading its pixels; raises `DataError` where it has too many of them."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(path, formats=PICTURE_FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise DataError(f"{path} has too many pixels; make it smaller, {MOST_PIXELS:,} pixels at most") from error
    if picture.width * picture.height > MOST_PIXELS:
        picture.close()
        raise DataError(
            f"{path} has {picture.width} x {picture.height} pixels; make it smaller, {MOST_PIXELS:,} at most"
        )
    return picture


def _grey(path: Path, picture: "Image.Image") -> "Image.Image":
    """Return an image of Pillow's in shades of grey, 0 to 255, in fractions."""
    from PIL import Image

    way_out = "save it with 8 or 16 bits, or as an .npy file of raw numbers"
    if picture.mode.startswith("I"):  # 16 bits, in Pillow's 32
        shades = np.asarray(picture)
        if shades.min() < 0 or shades.max() > SHADES_OF_16_BITS:
            raise DataError(f"{path} has shades from {shades.min()} to {shades.max()}; {way_out}")
        return Image.fromarray(shades.astype(np.float32) * np.float32(255 / SHADES_OF_16_BITS))
    if picture.mode == "F":
        raise DataError(f"{path} holds fractions; {way_out}")
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return picture.convert("L").convert("F")


def read_rows(path: Path, feature_names: Sequence[str]) -> tuple[NDArray, list[str]]:
    """Return the rows of a text table with commas, (rows, features), and what was left out of it.

    With a header line, columns are found by their names, in any order; without one they are in the order of training.
    """
    try:
        check_size(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parse(csv.reader(file, strict=True), path, feature_names)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give an image, a .csv or an .npy file") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}; give text in UTF-8 with commas") from error


def _parse(reader: Any, path: Path, feature_names: Sequence[str]) -> tuple[NDArray, list[str]]:
    """Return the rows that a `csv.reader` reads, (rows, features), and what was left out of them."""
    rows: Iterator[list[str]] = filter(None, reader)
    first: list[str] = next(rows, [])
    names = [name.strip() for name in first]
    notes: list[str] = []
    places: Sequence[int] = range(len(feature_names))
    # The names may be numbers themselves, such as those of pixels.
    if set(names) >= set(feature_names) or not all(map(is_number, first)):
        places = _places(path, names, feature_names)
        unused = [name for name in names if name not in feature_names]
        notes += [f"not used: the {'column' if len(unused) == 1 else 'columns'} {_some(unused)}"] if unused else []
        num_columns = len(names)
    else:
        rows = chain(filter(None, [first]), rows)
        num_columns = len(feature_names)

    values = array("d")  # row after row
    for row in rows:
        if len(row) != num_columns:
            raise DataError(f"{path}: line {reader.line_num} has {len(row)} columns; it must have {num_columns}")
        cells = [row[place] for place in places]
        if not (all(map(is_number, cells)) and all(map(isfinite, map(float, cells)))):
            wrong = next(place for place, cell in enumerate(cells) if not (is_number(cell) and isfinite(float(cell))))
            what = f"{shortened(cells[wrong])!r} for {feature_names[wrong]}"
            raise DataError(f"{path}: line {reader.line_num} has {what}; every feature must be a finite number")
        values.extend(map(float, cells))
        if len(values) > MOST_NUMBERS:
            raise DataError(f"{path} holds more than {MOST_NUMBERS:,} numbers; give fewer samples")
    if not values:
        raise DataError(f"{path} has no row of numbers; give one for each sample")
    return np.frombuffer(values).reshape(-1, len(feature_names)), notes


def read_array(path: Path, num_features: int, shape: tuple[int, int] | None) -> NDArray:
    """Return the samples of an .npy file, (samples, features); `shape` is that of an image where there is one.

    Taken are (features,), (samples, features), and of images (rows, columns) and (samples, rows, columns).
    """
    try:
        with path.open("rb") as file:
            array = read_npy(file, str(path), allowed=min(path.stat().st_size, NUMBER_BYTES * MOST_NUMBERS))
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give an image, a .csv or an .npy file") from error
    except Exception as error:  # NumPy raises many kinds for a damaged file
        raise DataError(
            f"{path} is no array that can be read ({first_line(error)}); write it with numpy.save"
        ) from error
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


def check_size(path: Path) -> None:
    """Raise `DataError` for a file too large to hold samples for a look."""
    if (size := path.stat().st_size) > MOST_BYTES:
        raise DataError(f"{path} has {size:,} bytes; give fewer samples, {MOST_BYTES:,} bytes at most")


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


def _some(names: Sequence[str]) -> str:
    """Return names for a line: the first of many."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(repr, names[:MOST_NAMES])) + more
