"""The user's own tables in the Parquet format, whose claims are checked before Arrow believes them.

A file ends with a footer, which says where the pages of each column lie; each page is packed and has a header of its
own. A file of 12 kB may claim pages of 2 GB, or columns in columns in columns until the stack of Arrow overflows.
Apache Parquet, parquet.thrift, whose field numbers are those below.
"""

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbench.data import thrift
from nnbench.data.dataset import DataError
from nnbench.data.limits import most_bytes
from nnbench.data.scaling import Scaling
from nnbench.data.source import Samples, Source
from nnbench.data.tables import (
    Table,
    check_finite,
    check_header,
    check_rows,
    first_line,
    samples_of_tables,
    shortened,
    texts_of_labels,
)

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"PAR1"
TAIL_BYTES = 8  # the length of the footer, and the magic
MAX_FOOTER_BYTES = 2**24  # 20,000 columns take 10 MB
NUMBER_BYTES = 8  # of each cell, once it is read
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_2 = 0, 2, 3
# Encodings of text: Arrow does not read the first as a dictionary, and in the second each text continues the one
# before, so that a page of 1 kB may hold a million of long ones.
REFUSED_ENCODINGS = {6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY"}


@dataclass(frozen=True, kw_only=True)
class Parquet(Source):
    """A table in the Parquet format; labels may be text, integers or booleans.

    `test_path` names a second table with the same columns, which then is the test split.
    """

    path: Path
    target: str
    test_path: Path | None = None
    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Read the table, and the test table if there is one."""
        return samples_of_tables(self.path, self.test_path, self.read_table)

    def read_table(self, path: Path) -> Table:
        """Read one file."""
        import pyarrow.parquet as pq

        try:
            footer = read_footer(path)
            with pq.ParquetFile(path) as file:
                names = check_columns(file.schema_arrow, path, self.target)
            check_rows(footer[3], path)
            check_pages(footer, path)
            # Text as a dictionary takes no more memory than in the file; checksums are compared where there are some.
            with pq.ParquetFile(path, read_dictionary=[self.target], page_checksum_verification=True) as file:
                table = file.read()
            table.validate(full=True)
            inputs = np.empty((table.num_rows, len(names)))
            for column, name in enumerate(names):
                inputs[:, column] = numbers(table.column(name))
            check_finite(inputs, names, path)
            return Table(inputs, texts_of_labels(table.column(self.target).to_pandas(), self.target, path), names)
        except DataError:
            raise
        except Exception as error:  # Arrow raises many kinds, some of them its own
            raise DataError(f"{path} is not a sound Parquet file ({first_line(error)}); write it again") from error


def read_footer(path: Path) -> dict[int, Any]:
    """Return what the file says of itself; raises ValueError where it does not, `DataError` for nested columns."""
    num_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
        file.seek(max(0, num_bytes - TAIL_BYTES))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if start != MAGIC or tail[4:] != MAGIC or length > num_bytes - len(MAGIC) - TAIL_BYTES:
            raise ValueError(f"it starts with {start!r} and ends with {tail!r}, not with a footer and {MAGIC!r}")
        if length > MAX_FOOTER_BYTES:
            raise ValueError(f"its footer has {length} bytes; at most {MAX_FOOTER_BYTES} are read")
        file.seek(num_bytes - TAIL_BYTES - length)
        footer = thrift.Reader(file.read(length)).struct()
    root, *columns = footer[2]
    for column in columns:
        if column.get(5):
            name = shortened(column[4].decode())
            raise DataError(f"{path}: column {name!r} holds other columns; give one for each number")
    widths = {root[5], *(len(group[1]) for group in footer[4])}
    if widths != {len(columns)} or footer[3] != sum(group[3] for group in footer[4]):
        raise ValueError(f"its footer has {len(columns)} columns and {footer[3]} rows, and parts of other sizes")
    return footer


def check_columns(schema: "pa.Schema", path: Path, target: str) -> tuple[str, ...]:
    """Return the names of the features; raises `DataError` where a column is neither numbers nor the target."""
    from pyarrow import types

    names = check_header(schema.names, path, target)
    for index in (schema.pandas_metadata or {}).get("index_columns", []):
        name = index.get("name") if isinstance(index, dict) else index  # a range has no column in the file
        if name is not None:
            raise DataError(
                f"{path}: column {shortened(repr(name))} is the index of a pandas table; write it with "
                "to_parquet(path, index=False), or after reset_index() if it is a feature"
            )
    for name in names:
        kind = schema.field(name).type
        allowed = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        if name == target:
            kind = kind.value_type if types.is_dictionary(kind) else kind
            allowed |= types.is_integer(kind) or types.is_boolean(kind)
            allowed |= types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        if not allowed:
            wanted = "text or integers" if name == target else "numbers, or leave it out"
            raise DataError(f"{path}: column {name!r} holds {kind}; make it {wanted}")
    return tuple(name for name in names if name != target)


def check_pages(footer: Mapping[int, Any], path: Path) -> None:
    """Raise an error unless all pages are where the footer says, and hold what it says and no more than allowed."""
    num_bytes = path.stat().st_size
    claimed, allowed = 0, most_bytes(num_bytes)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for group in footer[4]:
            for column in group[1]:
                num_values = 0
                for page_bytes, page_values in pages(content, column[3], path):
                    num_values += page_values
                    claimed += page_bytes + NUMBER_BYTES * page_values
                    if claimed > allowed:
                        raise DataError(
                            f"{path} has {num_bytes:,} bytes and claims to hold more than {allowed:,}, the most that "
                            "are read; give fewer rows, or write it without compression and without dictionaries"
                        )
                if not num_values == column[3][5] == group[3]:
                    raise ValueError(f"a column has {num_values} values, not {group[3]}")


def pages(content: mmap.mmap, column: Mapping[int, Any], path: Path) -> Iterator[tuple[int, int]]:
    """Yield the unpacked bytes and the number of values of each page of a column, as its header claims them."""
    if not column[5]:
        return
    name, start, dictionary = b".".join(column[3]).decode(), column[9], column.get(11, 0)
    if 0 < dictionary < start:
        start = dictionary
    end = start + column[7]
    reader = thrift.Reader(content, start)
    while reader.position < end:
        page = reader.struct()
        kind, unpacked, packed = page[1], page[2], page[3]
        header = page[{DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_2: 8}[kind]]
        num_values, encoding = header[1], header[4 if kind == DATA_PAGE_2 else 2]
        if encoding in REFUSED_ENCODINGS:
            raise DataError(
                f"{path}: column {name!r} is encoded as {REFUSED_ENCODINGS[encoding]}, which is not "
                "read; write it plain, or with a dictionary"
            )
        if min(unpacked, packed, num_values) < 0 or (kind == DICTIONARY_PAGE and num_values > unpacked):
            raise ValueError(f"a page of {name!r} claims {num_values} values in {unpacked} bytes")
        yield unpacked, 0 if kind == DICTIONARY_PAGE else num_values
        reader.position += packed
    if reader.position != end:
        raise ValueError(f"the pages of {name!r} do not end where the footer says")


def numbers(column: "pa.ChunkedArray") -> NDArray:
    """Return a column of numbers as float64, (rows,), not a number where one is missing."""
    import pyarrow as pa

    return column.cast(pa.float64(), safe=False).to_numpy()  # not safe: beyond 2^53 integers are rounded
