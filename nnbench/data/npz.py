"""The user's own NumPy archives, read without pickle and with distrust of every header.

`inputs` is (samples, features) or, for images, (samples, rows, columns); `labels` is (samples,).
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbench.data.dataset import DataError, Split
from nnbench.data.labels import class_names_of, encode
from nnbench.data.limits import most_bytes
from nnbench.data.npy import read_npy
from nnbench.data.scaling import Scaling
from nnbench.data.source import Samples, Source
from nnbench.data.tables import existing_file, first_line, shortened

MEMBERS = ("inputs.npy", "labels.npy", "test_inputs.npy", "test_labels.npy")
END_MAGIC, END_BYTES = b"PK\x05\x06", 22  # how an archive ends, before its comment


@dataclass(frozen=True, kw_only=True)
class NPZ(Source):
    """An archive made by `numpy.savez(path, inputs=..., labels=...)`.

    Labels are integers, none negative, or text, which then names the classes. The arrays `test_inputs` and
    `test_labels`, if the archive has them, are the test split.
    """

    path: Path
    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Read the archive."""
        path = existing_file(self.path, "path")
        try:
            with zipfile.ZipFile(path) as archive:
                check_whole(archive, path)
                names = archive.namelist()
                inputs, label_texts = read_part(archive, path, "")
                test_inputs: NDArray | None = None
                test_texts: list[str] = []
                if "test_inputs.npy" in names or "test_labels.npy" in names:
                    test_inputs, test_texts = read_part(archive, path, "test_")
        except DataError:
            raise
        except Exception as error:  # a damaged archive makes zipfile, zlib and NumPy raise a dozen kinds
            raise DataError(f"{path} is not a sound NumPy archive ({first_line(error)}); write it again") from error

        if test_inputs is not None and test_inputs.shape[1:] != inputs.shape[1:]:
            raise DataError(
                f"{path}: a sample of inputs has the shape {inputs.shape[1:]}, one of test_inputs "
                f"{test_inputs.shape[1:]}; make them equal"
            )
        unused = [name for name in names if name not in MEMBERS]
        class_names = class_names_of(label_texts + test_texts)
        image_shape = inputs.shape[1:] if inputs.ndim == 3 else None
        kind = "pixel" if image_shape else "feature"
        return Samples(
            name=path.stem,
            origin=str(path),
            inputs=flat(inputs),
            labels=encode(label_texts, class_names),
            class_names=class_names,
            feature_names=tuple("_".join(map(str, (kind, *position))) for position in np.ndindex(inputs.shape[1:])),
            image_shape=image_shape,
            test=None if test_inputs is None else Split(flat(test_inputs), encode(test_texts, class_names)),
            warnings=(f"{path} has arrays that are not used: {listed(unused)}",) if unused else (),
        )


def flat(inputs: NDArray) -> NDArray:
    """Return (samples, features), in float64 unless the inputs are bytes."""
    with np.errstate(over="ignore"):  # an extended number too large for float64 becomes infinite, and is refused
        return inputs.reshape(len(inputs), -1).astype(np.uint8 if inputs.dtype == np.uint8 else np.float64)


def read_part(archive: zipfile.ZipFile, path: Path, prefix: str) -> tuple[NDArray, list[str]]:
    """Return inputs and labels as text, of the pool (prefix "") or of the test part ("test_")."""
    inputs = read_array(archive, path, f"{prefix}inputs")
    labels = read_array(archive, path, f"{prefix}labels")
    if inputs.ndim not in (2, 3) or inputs.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: {prefix}inputs has the shape {inputs.shape} and the type {inputs.dtype}; "
            "it must be numbers, (samples, features) or (samples, rows, columns)"
        )
    if 0 in inputs.shape:
        raise DataError(f"{path}: {prefix}inputs has the shape {inputs.shape}, which holds nothing")
    if labels.shape != inputs.shape[:1]:
        raise DataError(
            f"{path}: {prefix}labels has the shape {labels.shape}; it must be {inputs.shape[:1]}, one for each sample"
        )
    return inputs, texts_of_labels(labels, f"{path}: {prefix}labels")


def texts_of_labels(labels: NDArray, place: str) -> list[str]:
    """Return labels as text; raises `DataError` unless they are text or whole numbers from 0."""
    wrong = np.zeros(labels.shape, dtype=bool)
    if labels.dtype.kind == "U":
        wrong = labels == ""
    elif labels.dtype.kind in "iuf":
        wrong = ~(labels >= 0)  # true for NaN, too
        if labels.dtype.kind == "f":
            wrong |= np.floor(labels) != labels
            wrong |= np.isinf(labels)
    elif labels.dtype.kind != "b":
        raise DataError(f"{place} has the type {labels.dtype}; it must be integers from 0, or text")
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{place}[{row}] is {labels[row].item()!r}; labels must be integers from 0, or text")
    values = labels.tolist()
    return [str(int(value)) if labels.dtype.kind in "bf" else str(value) for value in values]


def read_array(archive: zipfile.ZipFile, path: Path, name: str) -> NDArray:
    """Read one array, or raise `DataError` where the archive does not have it once."""
    names = archive.namelist()
    member = f"{name}.npy"
    if names.count(member) != 1:
        found = f"two arrays {name!r}" if member in names else f"no array {name!r}, only {listed(names) or 'nothing'}"
        raise DataError(f"{path} has {found}; write it with numpy.savez(path, inputs=..., labels=...)")
    entry = archive.getinfo(member)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unfold without a limit
        raise DataError(f"{path}: {name} is packed in a way that NumPy does not; write it with numpy.savez")
    allowed = min(entry.file_size, most_bytes(min(entry.compress_size, path.stat().st_size)))
    with archive.open(entry) as file:
        return read_npy(file, f"{path}: {name}", allowed=allowed)


def check_whole(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise `DataError` where the file is more than the archive, such as one archive behind another."""
    with path.open("rb") as file:
        file.seek(-len(archive.comment) - END_BYTES, os.SEEK_END)
        ends = file.read(len(END_MAGIC)) == END_MAGIC
    if not ends or min((entry.header_offset for entry in archive.infolist()), default=0):
        raise DataError(f"{path} holds more than one archive; write it again")


def listed(names: list[str]) -> str:
    """Return the names of arrays for a line."""
    return shortened(", ".join(map(repr, names)))
