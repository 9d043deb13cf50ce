"""The user's own tables: one row per sample, one column with the label, all other columns numbers.

Inputs are (rows, columns without the target) in float64. Rows are counted from 1, without the header line. Here are
what all formats have in common and text tables; `nnbench.data.parquet` has the other.
To add a format, write a class whose `read` passes a function from a path to a `Table` to `samples_of_tables`.
"""

import array
import codecs
import csv
import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from nnbench.data.dataset import DataError, Split
from nnbench.data.labels import class_names_of, encode, problem_of_name
from nnbench.data.limits import MAX_BYTES
from nnbench.data.scaling import Scaling
from nnbench.data.source import Samples, Source, first_non_finite, require

LIKELY_DELIMITERS = (",", ";", "\t", "|")
MAX_LINE = 2**24  # characters; a million numbers take as many
MOST_COMPARED = 1000  # columns whose names are compared with that of a target that is not there


@dataclass(frozen=True, eq=False)
class Table:
    """One file: inputs, (rows, features) in float64, labels as text, and the names of the features."""

    inputs: NDArray
    label_texts: Sequence[str]
    feature_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CSV(Source):
    """A text table with a header line, such as `species,length,width`.

    Labels are kept as they are written: `NA`, `None` and `001` are classes. `test_path` names a second table with the
    same columns, which then is the test split.
    """

    path: Path
    target: str
    test_path: Path | None = None
    delimiter: str = ","
    encoding: str = "utf-8"
    scaling: Scaling = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = len(self.delimiter) == 1 and self.delimiter not in '"\r\n\0'
        require("delimiter", repr(self.delimiter), allowed, "one character, no quote or line break")
        try:
            "a".encode(self.encoding)  # refuses names such as hex, too, which codecs.lookup knows
        except (LookupError, ValueError):
            raise ValueError(f"encoding is {self.encoding}; it must be one that Python knows, as utf-8") from None

    def read(self) -> Samples:
        """Read the table, and the test table if there is one."""
        return samples_of_tables(self.path, self.test_path, self.read_table)

    def read_table(self, path: Path) -> Table:
        """Read one file."""
        # The byte order mark that spreadsheets write is no part of the first name.
        encoding = "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding
        try:
            if (num_bytes := path.stat().st_size) > MAX_BYTES:
                raise DataError(f"{path} has {num_bytes:,} bytes; give fewer rows, {MAX_BYTES:,} bytes at most")
            with path.open(encoding=encoding, newline="") as file:
                return parse_csv(file, path, self.target, self.delimiter)
        except UnicodeError as error:
            raise DataError(
                f"{path} is not text in {self.encoding} ({first_line(error)}); name its encoding, perhaps "
                f"dataset.encoding={likely_encoding(path)}"
            ) from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error


def samples_of_tables(path: Path, test_path: Path | None, read_table: Callable[[Path], Table]) -> Samples:
    """Read one or two tables; classes are those of both."""
    path = existing_file(path, "path")
    table = read_table(path)
    test_table = None
    label_texts = list(table.label_texts)
    if test_path is not None:
        test_path = existing_file(test_path, "test_path")
        test_table = read_table(test_path)
        if test_table.feature_names != table.feature_names:
            raise DataError(
                f"{test_path} has the features {shortened(', '.join(test_table.feature_names))}, but {path} has "
                f"{shortened(', '.join(table.feature_names))}; give both files the same columns in the same order"
            )
        label_texts += test_table.label_texts
    class_names = class_names_of(label_texts)
    return Samples(
        name=path.stem,
        origin=str(path),
        inputs=table.inputs,
        labels=encode(table.label_texts, class_names),
        class_names=class_names,
        feature_names=table.feature_names,
        test=None if test_table is None else Split(test_table.inputs, encode(test_table.label_texts, class_names)),
    )


def existing_file(path: Path, key: str) -> Path:
    """Return the absolute path; raises `DataError` where there is no file."""
    try:
        path = Path(path).expanduser().absolute()
        is_file = path.is_file()
        found = "is a folder" if path.is_dir() else "is no ordinary file" if path.exists() else "does not exist"
    except (OSError, RuntimeError) as error:  # too long a name, a folder that may not be read, an unknown ~user
        raise DataError(f"{path} cannot be found ({first_line(error)}); set dataset.{key} to a file") from error
    if not is_file:
        raise DataError(f"{path} {found}; set dataset.{key} to a file")
    return path


def parse_csv(file: TextIO, path: Path, target: str, delimiter: str) -> Table:
    """Read a table from text; every error names the line, and where it can the column."""
    reader = csv.reader(lines(file, path), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows = non_empty_rows(reader, path)
    header = next(rows, None)
    if header is None:
        raise DataError(f"{path} is empty; it needs a header line and one line for each sample")
    check_delimiter(header, path, delimiter)
    names = check_header(header, path, target)
    target_column = names.index(target)
    feature_names = names[:target_column] + names[target_column + 1 :]

    values = array.array("d")  # row after row; a list of lists would need ten times the memory
    label_texts: list[str] = []
    known: dict[str, str] = {}  # each label once, however often it is written
    for cells in rows:
        place = f"{path}, row {len(label_texts) + 1} (line {reader.line_num})"
        if len(cells) != len(names):
            raise DataError(f"{place} has {len(cells)} cells, but the header has {len(names)}; make them equal")
        label_text = cells.pop(target_column)
        if not label_text:
            raise DataError(f"{place}: the label in column {target!r} is empty; fill it in, or remove the row")
        label_texts.append(known.setdefault(label_text, label_text))
        try:
            values.extend(map(float, cells))
        except ValueError:
            raise wrong_cell(cells, feature_names, place) from None
        if "_" in "".join(cells):  # 1_000 is a number to Python alone
            raise wrong_cell(cells, feature_names, place)
        if values.itemsize * len(values) > MAX_BYTES:
            raise DataError(f"{place}: the numbers so far take {MAX_BYTES:,} bytes, the most; give fewer rows")
    check_rows(len(label_texts), path)
    inputs = np.frombuffer(values, dtype=np.float64).reshape(len(label_texts), len(feature_names))
    check_finite(inputs, feature_names, path)
    return Table(inputs, label_texts, feature_names)


def lines(file: TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a file, none of which fills the memory."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise DataError(f"{path} has a line of more than {MAX_LINE:,} characters; is it a table of text?")
        yield line


def non_empty_rows(reader: Any, path: Path) -> Iterator[list[str]]:
    """Yield the rows of a `csv.reader`, without blank lines."""
    try:
        yield from filter(None, reader)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is not a line of a table ({error}); correct it") from error


def check_delimiter(header: list[str], path: Path, delimiter: str) -> None:
    """Raise `DataError` where the whole header is one cell that another delimiter would divide."""
    if len(header) > 1:
        return
    likely = max(LIKELY_DELIMITERS, key=header[0].count)
    num_columns = header[0].count(likely) + 1
    way_out = "it needs the target and at least one feature"
    if num_columns > 1:
        shown = likely.replace("\t", "\\t")
        way_out = f"'dataset.delimiter=\"{shown}\"' would make {num_columns} of it"
    raise DataError(f"{path} has one column with the delimiter {delimiter!r}; {way_out}")


def check_header(header: list[str], path: Path, target: str) -> tuple[str, ...]:
    """Return the column names; raises `DataError` where one is missing or twice, or the target is not among them."""
    seen = set()
    for position, name in enumerate(header):
        if not name:
            raise DataError(
                f"{path}: column {position + 1} has no name; name it, or remove it if it only counts the rows"
            )
        if problem := problem_of_name(name):
            raise DataError(
                f"{path}: the name of column {position + 1} {problem}; rename it, or, if the file is in another "
                "encoding, name that, perhaps dataset.encoding=utf-16-le"
            )
        if name in seen:
            raise DataError(f"{path} has two columns named {name!r}; rename or remove one")
        seen.add(name)
    if target not in seen:
        nearest = difflib.get_close_matches(target, header[:MOST_COMPARED], n=1, cutoff=0)[0]
        raise DataError(
            f"{path} has no column {target!r}; did you mean {nearest!r}? Its columns are {shortened(', '.join(header))}"
        )
    if len(header) == 1:
        raise DataError(f"{path} has no column beside the target {target!r}; it needs at least one feature")
    return tuple(header)


def check_rows(num_rows: int, path: Path) -> None:
    """Raise `DataError` for a table without samples."""
    if not num_rows:
        raise DataError(f"{path} has a header but no rows; it needs one row for each sample")


def check_finite(inputs: NDArray, feature_names: Sequence[str], origin: Path | str) -> None:
    """Raise `DataError` for a missing or infinite number."""
    for row, column in first_non_finite(inputs):
        found = "missing (NaN)" if math.isnan(inputs[row, column]) else "infinite, or too large for 64 bits"
        raise DataError(
            f"{origin}, row {row + 1}: column {feature_names[column]!r} is {found}; "
            "correct it, or remove the row or the column"
        )


def wrong_cell(cells: list[str], feature_names: tuple[str, ...], place: str) -> DataError:
    """Return the error for the first cell that is not a number."""
    name, cell = next(pair for pair in zip(feature_names, cells, strict=True) if not is_number(pair[1]))
    found = f"{shortened(cell)!r}, which is not a number" if cell else "empty"
    return DataError(f"{place}: column {name!r} is {found}; correct it, or remove the row or the column")


def is_number(text: str) -> bool:
    """Return whether a text is a number; 1_000 is one to Python alone."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def texts_of_labels(column: Any, name: str, origin: Path | str) -> list[str]:
    """Return the labels of a pandas column as text; whole numbers are written without a decimal point."""
    codes, distinct = column.factorize()  # each label as text once, however long the column
    values = distinct.tolist()
    texts = [str(int(value) if isinstance(value, float) and value.is_integer() else value) for value in values]
    measured = [code for code, value in enumerate(values) if isinstance(value, float) and not value.is_integer()]
    place = f"{origin}, row {{}}: the label in column {name!r}"
    for row in np.flatnonzero(codes < 0)[:1]:
        raise DataError(f"{place.format(row + 1)} is missing; fill it in, or remove the row")
    for row in np.flatnonzero(np.isin(codes, measured))[:1] if measured else ():
        raise DataError(f"{place.format(row + 1)} is {texts[codes[row]]}; labels must be whole numbers, or text")
    return [texts[code] for code in codes]


def likely_encoding(path: Path) -> str:
    """Guess from the first bytes: UTF-16 has a mark, and every other file can be read as latin-1."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"


def shortened(text: str, num_characters: int = 200) -> str:
    """Return the start of a long text."""
    return text if len(text) <= num_characters else text[:num_characters] + "..."


def first_line(error: Exception) -> str:
    """Return what a library says, without the lines of advice that some add."""
    return shortened((str(error) or type(error).__name__).splitlines()[0])
