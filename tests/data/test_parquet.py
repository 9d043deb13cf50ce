"""Parquet: exact data or one `DataError`; nothing that a header claims is believed before it is checked."""

import io
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_writer import Long, struct

from nnbench.data import CSV, DataError, Parquet, parquet, thrift

NUM_ROWS = 30
TABLE = {"length": np.arange(NUM_ROWS), "kind": ["a", "b", "c"] * 10, "width": np.arange(NUM_ROWS) / 7}


def frame(**columns):
    return pd.DataFrame({**TABLE, **columns})


def content_of(table, **options):
    file = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), file, **options)
    return file.getvalue()


@pytest.fixture
def source(tmp_path):
    """The source of a pandas table, of columns or of bytes."""

    def of(content, **fields):
        path = tmp_path / "flowers.parquet"
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content_of(content))
        return Parquet(path=path, target="kind", scaling="none", **fields)

    return of


def test_parquet_equals_csv(source, tmp_path):
    frame().to_csv(tmp_path / "flowers.csv", index=False)

    from_text = CSV(path=tmp_path / "flowers.csv", target="kind", scaling="none")

    assert source(frame()).load().digest == from_text.load().digest


WAYS = {
    "plain": {"compression": "none", "use_dictionary": False},
    "dictionary": {"compression": "none"},
    "snappy": {"compression": "snappy"},
    "gzip": {"compression": "gzip"},
    "zstd": {"compression": "zstd"},
    "brotli": {"compression": "brotli"},
    "lz4": {"compression": "lz4"},
    "version 2": {"data_page_version": "2.0"},
    "groups": {"row_group_size": 7},
    "checksums": {"write_page_checksum": True},
    "page index": {"write_page_index": True},
    "deltas": {
        "use_dictionary": False,
        "column_encoding": {"length": "DELTA_BINARY_PACKED", "width": "BYTE_STREAM_SPLIT"},
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_table_is_read_exactly_whichever_way_it_is_written(source, way):
    samples = source(content_of(TABLE, **WAYS[way])).read()

    assert samples.feature_names == ("length", "width")
    np.testing.assert_array_equal(samples.inputs, np.transpose([TABLE["length"], TABLE["width"]]))
    assert [samples.class_names[label] for label in samples.labels] == TABLE["kind"]


@pytest.mark.parametrize("kind", ["int8", "uint64", "float16", "float32", "bool"])
def test_any_numbers_are_features(source, kind):
    numbers = (np.arange(NUM_ROWS) % 2).astype(kind)

    samples = source({**TABLE, "width": numbers}).read()

    np.testing.assert_array_equal(samples.inputs[:, 1], numbers.astype(float))


def test_test_table_is_the_test_split(source, tmp_path):
    frame().tail(9).to_parquet(tmp_path / "test.parquet")

    dataset = source(frame(), test_path=tmp_path / "test.parquet").load()

    assert dataset.test.inputs[:, 0].tolist() == list(range(21, 30))


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        ([10, 9, -1], ("-1", "9", "10")),
        ([1.0, 0.0, 2.0], ("0", "1", "2")),
        ([True, False, True], ("False", "True")),
        (pd.Categorical(["b", "a", "b"]), ("a", "b")),
        (pd.Categorical([7, 5, 7]), ("5", "7")),
        (["001", "NA", "None"], ("001", "NA", "None")),
    ],
)
def test_labels_become_text(source, labels, class_names):
    assert source(frame(kind=list(labels) * 10)).read().class_names == class_names


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"width": ["wide"] * 30}, r"column 'width' holds \w*string; make it numbers, or leave it out"),
        ({"width": pd.date_range("2020", periods=30)}, "column 'width' holds timestamp"),
        ({"width": [[1, 2]] * 30}, "column 'width' holds other columns; give one for each number"),
        ({"width": [{"cm": 1}] * 30}, "column 'width' holds other columns; give one for each number"),
        ({"width": [None] * 30}, "column 'width' holds null"),
        ({"width": [None, *range(29)]}, r"row 1: column 'width' is missing \(NaN\)"),
        ({"width": pd.array([*range(29), None], dtype="Int64")}, r"row 30: column 'width' is missing \(NaN\)"),
        ({"width": [np.inf] * 30}, "row 1: column 'width' is infinite"),
        ({"kind": ["a", None, "b"] * 10}, "row 2: the label in column 'kind' is missing"),
        ({"kind": [1, np.nan, 2] * 10}, "row 2: the label in column 'kind' is missing"),
        ({"kind": [1, 2.5, 2] * 10}, "row 2: the label in column 'kind' is 2.5; labels must be whole numbers, or text"),
        ({"kind": [1, np.inf, 2] * 10}, "row 2: the label in column 'kind' is inf; labels must be whole numbers"),
        ({"kind": [b"a", b"b", b"c"] * 10}, "column 'kind' holds binary; make it text or integers"),
        ({"kind": pd.date_range("2020", periods=30)}, "column 'kind' holds timestamp"),
        ({"kind": ["a", "", "b"] * 10}, "row 2: the name of a class is empty"),
        ({"kind": ["a"] * 30}, "needs at least 2 classes"),
    ],
)
def test_trap_is_one_clear_error(source, columns, message):
    with pytest.raises(DataError, match=message):
        source(frame(**columns)).load()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("length", "column 'length' is the index of a pandas table; write it with to_parquet"),
        ("kind", "column 'kind' is the index of a pandas table"),
        (None, "column '__index_level_0__' is the index of a pandas table"),
    ],
)
def test_index_of_pandas_is_neither_a_feature_nor_forgotten(source, index, message):
    table = frame().set_index(index) if index else frame().sort_values("kind")

    with pytest.raises(DataError, match=message):
        source(table).load()


def test_folder_named_like_a_column_is_no_column(source, tmp_path):
    folder = tmp_path / "height=3"
    folder.mkdir()
    frame().to_parquet(folder / "flowers.parquet")

    assert Parquet(path=folder / "flowers.parquet", target="kind").read().feature_names == ("length", "width")


SOUND = content_of(TABLE)
OTHER = content_of({**TABLE, "width": np.arange(NUM_ROWS) / 9})
UNSOUND = "is not a sound Parquet file"


def footed(footer, pages=b""):
    """A file of the given pages and footer."""
    return b"PAR1" + pages + struct(footer) + len(struct(footer)).to_bytes(4, "little") + b"PAR1"


def column(name, kind=1):
    return {1: kind, 3: 0, 4: name.encode()}


def page(num_values, *, unpacked=None, content=b"", encoding=0):
    """A data page as its header claims it, packed by gzip."""
    packed = zlib.compress(content, wbits=31)
    sizes = {1: 0, 2: len(content) if unpacked is None else unpacked, 3: len(packed)}
    return struct({**sizes, 5: {1: num_values, 2: encoding, 3: 3, 4: 3}}) + packed


def file_of_pages(num_rows, *pages):
    """A file with a feature and a label, each in one page; the second starts where the first ends."""
    chunks, offset = [], 4
    for name, kind, content in zip((b"width", b"kind"), (5, 1), pages, strict=True):
        facts = {1: kind, 2: [0], 3: [name], 4: 2, 5: Long(num_rows), 6: Long(len(content)), 7: Long(len(content))}
        chunks.append({2: Long(offset), 3: facts | {9: Long(offset)}})
        offset += len(content)
    schema = [{4: b"schema", 5: 2}, column("width", 5), column("kind")]
    group = {1: chunks, 2: Long(offset), 3: Long(num_rows)}
    return footed({1: 2, 2: schema, 3: Long(num_rows), 4: [group]}, b"".join(pages))


NUMBERS, LABELS = np.arange(8, dtype="<f8"), np.arange(8, dtype="<i4") % 2
NUMBER_PAGE, LABEL_PAGE = page(8, content=NUMBERS.tobytes()), page(8, content=LABELS.tobytes())

TRAPS = {
    "nothing": (b"", UNSOUND),
    "magic alone": (b"PAR1", UNSOUND),
    "text": (b"length,kind\n1,a\n", UNSOUND),
    "zeros": (b"PAR1" + bytes(100) + b"PAR1", UNSOUND),
    "cut off": (SOUND[:-1], UNSOUND),
    "no start": (SOUND[4:], UNSOUND),
    "trailing byte": (SOUND + b"\0", UNSOUND),
    "two files": (SOUND + OTHER, UNSOUND),
    "footer of another": (SOUND[:-600] + OTHER[-600:], UNSOUND),
    "no rows": (content_of(pa.Table.from_pandas(frame().head(0))), "has a header but no rows"),
    "no columns": (content_of({}), UNSOUND),
    "no target": (content_of({"kinds": ["a"], "width": [1]}), "has no column 'kind'; did you mean 'kinds'"),
    "target alone": (content_of({"kind": ["a"]}), "has no column beside the target"),
    "same name twice": (
        content_of(pa.Table.from_arrays([pa.array([1]), pa.array([1]), pa.array(["a"])], names=["x", "x", "kind"])),
        "has two columns named 'x'",
    ),
    "name with an escape": (content_of({"\33[2J": [1], "kind": ["a"]}), "the name of column 1 is '\\x1b[2J'"),
    "texts that build on each other": (
        content_of(TABLE, use_dictionary=False, column_encoding={"kind": "DELTA_BYTE_ARRAY"}),
        "column 'kind' is encoded as DELTA_BYTE_ARRAY, which is not read; write it plain, or with a dictionary",
    ),
    "many rows in few bytes": (
        content_of({"width": np.zeros(9_000_000), "kind": np.zeros(9_000_000, bool)}),
        "and claims to hold more than 67,108,864, the most that are read; give fewer rows, or write it without",
    ),
    "page of 2 GB": (
        file_of_pages(8, page(8, content=NUMBERS.tobytes(), unpacked=2**31 - 1), LABEL_PAGE),
        "claims to hold more than 67,108,864",
    ),
    "page of a negative size": (
        file_of_pages(8, page(8, content=NUMBERS.tobytes(), unpacked=-1), LABEL_PAGE),
        "a page of 'width' claims 8 values in -1 bytes",
    ),
    "page of other rows": (
        file_of_pages(8, page(9, content=bytes(72)), LABEL_PAGE),
        "a column has 9 values, not 8",
    ),
    "footer of other rows": (file_of_pages(4, NUMBER_PAGE, LABEL_PAGE), "a column has 8 values, not 4"),
    "page of less": (file_of_pages(8, page(8, content=bytes(56)), LABEL_PAGE), UNSOUND),
    "columns in columns": (
        footed({1: 1, 2: [{4: b"root", 5: 1}, *[{3: 1, 4: b"a", 5: 1}] * 20_000, column("kind")],
                3: Long(0), 4: []}),
        "column 'a' holds other columns",
    ),
    "structures in structures": (b"PAR1" + b"\x1c" * 5000 + (5000).to_bytes(4, "little") + b"PAR1", "levels"),
    "long number": (b"PAR1" + b"\x15" + b"\xff" * 20 + (21).to_bytes(4, "little") + b"PAR1", "more than 64 bits"),
    "long text": (b"PAR1" + b"\x18\xff\xff\xff\x7f" + (5).to_bytes(4, "little") + b"PAR1", "is cut off"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAPS)
def test_damaged_or_lying_file_is_one_clear_error(source, name):
    content, message = TRAPS[name]
    trap = source(content)

    with pytest.raises(DataError) as error:
        trap.load()

    assert message in str(error.value)
    assert str(trap.path) in str(error.value)
    assert len(str(error.value)) < 600


def test_file_of_pages_is_sound_where_nothing_lies(source):
    """What the traps above are made of."""
    samples = source(file_of_pages(8, NUMBER_PAGE, LABEL_PAGE)).read()

    np.testing.assert_array_equal(samples.inputs[:, 0], NUMBERS)
    np.testing.assert_array_equal(samples.labels, LABELS)


def test_footer_is_read_as_arrow_reads_it(source):
    path = source(content_of(TABLE, row_group_size=7)).path
    metadata = pq.read_metadata(path)

    footer = parquet.read_footer(path)

    assert footer[3] == metadata.num_rows
    assert [entry[4].decode() for entry in footer[2][1:]] == metadata.schema.names
    for group, told in enumerate(footer[4]):
        for place, chunk in enumerate(told[1]):
            theirs = metadata.row_group(group).column(place)
            assert (chunk[3][5], chunk[3][7], chunk[3][9], chunk[3][11]) == (
                theirs.num_values,
                theirs.total_compressed_size,
                theirs.data_page_offset,
                theirs.dictionary_page_offset,
            )


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.one_of(st.integers(-(2**31), 2**31 - 1), st.booleans(), st.binary(max_size=20)),
        lambda inner: st.one_of(
            st.dictionaries(st.integers(1, 2000), inner, max_size=4),
            st.lists(st.integers(-5, 2**31 - 1), max_size=20),
            st.lists(st.dictionaries(st.integers(1, 3), inner, max_size=2), max_size=3),
        ),
        max_leaves=12,
    )
)
def test_what_thrift_writes_is_read_back(thing):
    assert thrift.Reader(struct({1: thing})).struct() == {1: thing}


CHECKED = content_of(TABLE, write_page_checksum=True, compression="zstd", row_group_size=13)
FOOTER_START = len(CHECKED) - 8 - int.from_bytes(CHECKED[-8:-4], "little")


@settings(max_examples=250, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, len(CHECKED) - 1), st.integers(0, 255)), max_size=4),
       end=st.one_of(st.none(), st.integers(0, len(CHECKED) - 1)), tail=st.binary(max_size=20))  # fmt: skip
def test_mutated_file_gives_a_sound_table_or_a_data_error(tmp_path_factory, edits, end, tail):
    """Pages have checksums; the footer has none, so that a wrong name of a column, say, cannot be told."""
    content = bytearray(CHECKED)
    for position, byte in edits:
        content[position] = byte
    path = tmp_path_factory.getbasetemp() / "mutated.parquet"
    path.write_bytes(bytes(content[:end]) + tail)

    try:
        samples = Parquet(path=path, target="kind").read()
    except DataError:
        return

    assert np.isfinite(samples.inputs).all()
    assert samples.inputs.shape == (NUM_ROWS, 2)
    if all(position < FOOTER_START for position, _ in edits):
        np.testing.assert_array_equal(samples.inputs, np.transpose([TABLE["length"], TABLE["width"]]))
        assert [samples.class_names[label] for label in samples.labels] == TABLE["kind"]


@settings(max_examples=150, deadline=None)
@given(footer=st.binary(max_size=60))
def test_any_footer_is_a_data_error(tmp_path_factory, footer):
    path = tmp_path_factory.getbasetemp() / "footer.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")

    with pytest.raises(DataError):
        Parquet(path=path, target="kind").read()
