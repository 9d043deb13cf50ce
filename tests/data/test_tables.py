"""The user's tables: labels as written, numbers exact, and one clear `DataError` for every trap."""

import codecs
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbench.data import CSV, DataError, Parquet, tables

NUM_ROWS = 30


def lines(num_rows=NUM_ROWS):
    """A sound table: the header and `num_rows` lines of two features and one of three labels."""
    return ["length,kind,width", *(f"{row},{'abc'[row % 3]},{row / 7!r}" for row in range(num_rows))]


def write(path, content):
    """Write lines, text or bytes."""
    if isinstance(content, list):
        content = "\n".join(content) + "\n"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def table(tmp_path):
    def csv(content, **fields):
        return CSV(path=write(tmp_path / "flowers.csv", content), target="kind", scaling="none", **fields)

    return csv


def raw(source):
    return source.read()


def test_sound_table_is_read_exactly(table):
    samples = raw(table(lines()))

    assert samples.name == "flowers"
    assert samples.feature_names == ("length", "width")
    assert samples.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(samples.inputs, [[row, row / 7] for row in range(NUM_ROWS)])
    np.testing.assert_array_equal(samples.labels, np.arange(NUM_ROWS) % 3)


def test_header_row_is_never_a_sample(table):
    dataset = table(lines()).load()

    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == NUM_ROWS
    assert "kind" not in dataset.class_names


def test_label_of_more_digits_than_python_counts_is_one_clear_error(table):
    content = ["length,kind,width", *(f"{row},{'1' * 5000 if row % 2 else '2'},0" for row in range(NUM_ROWS))]

    with pytest.raises(DataError, match="has 5000 characters"):
        table(content).load()


def test_test_table_is_the_test_split_and_never_trained_on(table, tmp_path):
    test_lines = ["length,kind,width", *(f"{1000 + row},{'abd'[row % 3]},0" for row in range(9))]

    dataset = table(lines(), test_path=write(tmp_path / "test.csv", test_lines)).load()

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (27, 3, 9)
    assert dataset.test.inputs[:, 0].min() == 1000
    assert max(dataset.train.inputs[:, 0].max(), dataset.validation.inputs[:, 0].max()) < NUM_ROWS
    assert dataset.class_names == ("a", "b", "c", "d")
    assert "class 'd' has no sample in the training split" in dataset.warnings


@pytest.mark.parametrize("header", ["width,kind,length", "length,kind", "length,kind,width,height"])
def test_test_table_with_other_columns_is_refused(table, tmp_path, header):
    cells = ["1"] * len(header.split(","))
    test_path = write(tmp_path / "test.csv", [header, ",".join(cells)])

    with pytest.raises(DataError, match="same columns in the same order"):
        table(lines(), test_path=test_path).load()


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (["NA", "None", "nan"], ("NA", "None", "nan")),
        (["001", "1", "10"], ("001", "1", "10")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["b", "10", "9"], ("10", "9", "b")),
        (["true", "FALSE", "null"], ("FALSE", "null", "true")),
        (["1.0", "2.5", "é"], ("1.0", "2.5", "é")),
    ],
)
def test_labels_stay_as_written(table, labels, class_names):
    content = ["length,kind", *(f"{row},{labels[row % 3]}" for row in range(NUM_ROWS))]

    assert raw(table(content)).class_names == class_names


def line(number, text):
    """A sound table with one line replaced; the header is line 1."""
    return [*lines()[: number - 1], text, *lines()[number:]]


TRAPS = {
    "nothing": ("", "is empty; it needs a header line"),
    "blank lines": ("\n\n\n", "is empty; it needs a header line"),
    "header only": (lines(0), "has a header but no rows"),
    "semicolons": ([text.replace(",", ";") for text in lines()], 'dataset.delimiter=";"\' would make 3 of it'),
    "tabs": ([text.replace(",", "\t") for text in lines()], 'dataset.delimiter="\\t"\' would make 3 of it'),
    "one column": (["kind", "a", "b"], "has one column with the delimiter ','"),
    "missing target": (line(1, "length,kinds,width"), "has no column 'kind'; did you mean 'kinds'?"),
    "no header": (lines()[1:], "has no column 'kind'; did you mean '"),
    "same name twice": (line(1, "length,kind,length"), "has two columns named 'length'"),
    "nameless index": (line(1, ",kind,width"), "column 1 has no name"),
    "short line": (line(5, "1,a"), "row 4 (line 5) has 2 cells, but the header has 3"),
    "long line": (line(5, "1,a,2,3"), "row 4 (line 5) has 4 cells, but the header has 3"),
    "empty cell": (line(5, "1,a,"), "row 4 (line 5): column 'width' is empty"),
    "empty label": (line(5, "1,,2"), "row 4 (line 5): the label in column 'kind' is empty"),
    "text": (line(5, "1,a,wide"), "row 4 (line 5): column 'width' is 'wide', which is not a number"),
    "decimal comma": (line(5, '1,a,"2,5"'), "row 4 (line 5): column 'width' is '2,5', which is not a number"),
    "not a number": (line(5, "nan,a,2"), "row 4: column 'length' is missing (NaN)"),
    "too large": (line(5, "1e999,a,2"), "row 4: column 'length' is infinite, or too large for 64 bits"),
    "infinite": (line(5, "1,a,-inf"), "row 4: column 'width' is infinite"),
    "latin-1": ("length,kind\n1,é\n".encode("latin-1"), "is not text in utf-8"),
    "utf-16": ("\n".join(lines()).encode("utf-16"), "perhaps dataset.encoding=utf-16"),
    "open quote": (line(5, '1,"a,2'), "is not a line of a table"),
    "huge cell": (line(5, "1,a," + "9" * 200_000), "is not a line of a table"),
    "null byte": (line(5, "1,a,2\0"), "row 4 (line 5): column 'width' is '2\\x00'"),
    "null byte in a label": (line(5, "1,a\0,2"), "row 4: the name of a class is 'a\\x00', with '\\x00'"),
    "escape in a label": (line(5, "1,\33[2Ja,2"), "row 4: the name of a class is '\\x1b[2Ja', with '\\x1b'"),
    "quotes far apart": (
        [*lines()[:4], '1,"a,2', *lines()[5:8], '3,b",3', *lines()[9:]],
        "row 4: the name of a class is 'a,2\\n4,b,",
    ),
    "huge label": (line(5, f"1,{'a' * 2000},2"), "row 4: the name of a class has 2000 characters"),
    "escape in the header": (line(1, "length,kind,\33[2Jwidth"), "the name of column 3 is '\\x1b[2Jwidth', with"),
    "huge name": (line(1, f"length,kind,{'w' * 2000}"), "the name of column 3 has 2000 characters"),
    "utf-16 without a mark": ("\n".join(lines()).encode("utf-16-le"), "perhaps dataset.encoding=utf-16-le"),
    "1_000": (line(5, "1_000,a,2"), "row 4 (line 5): column 'length' is '1_000', which is not a number"),
    "header twice": (line(5, "length,kind,width"), "column 'length' is 'length', which is not a number"),
    "packed": (b"\x1f\x8b\x08\x00" + bytes(range(256)), "is not text in utf-8"),
    "one class": (["length,kind", *(f"{row},a" for row in range(NUM_ROWS))], "needs at least 2 classes"),
    "one sample": (lines(1), "needs at least 2 classes"),
    "a measured target": (["length,kind", *(f"{row},{row / 7}" for row in range(30))], "fewer than 2 for each"),
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap_is_one_clear_error(table, name):
    content, message = TRAPS[name]
    source = table(content)

    with pytest.raises(DataError) as error:
        source.load()

    assert message in str(error.value)
    assert str(source.path) in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("source", [CSV, Parquet])
def test_missing_file_is_named_by_its_absolute_path(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError) as error:
        source(path="missing.csv", target="kind").load()
    assert f"{tmp_path / 'missing.csv'} does not exist; set dataset.path to a file" in str(error.value)

    for path, found in (
        (tmp_path, "is a folder"),
        ("/dev/null", "is no ordinary file"),
        ("a" * 300, "cannot be found"),
    ):
        with pytest.raises(DataError, match=rf"{found}.*; set dataset\.path to a file"):
            source(path=path, target="kind").load()


def test_missing_test_file_is_named(table, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist; set dataset\.test_path to a file"):
        table(lines(), test_path=tmp_path / "nowhere.csv").load()


def test_file_too_large_to_be_a_table_is_refused_unread(table, tmp_path, monkeypatch):
    source = table(lines())
    with source.path.open("r+b") as file:
        file.truncate(2**33)  # sparse: takes no room

    with pytest.raises(DataError, match="has 8,589,934,592 bytes; give fewer rows, 4,294,967,296 bytes at most"):
        source.load()

    monkeypatch.setattr(tables, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"row 63 .*: the numbers so far take 1,000 bytes, the most; give fewer rows"):
        table(["x,y,kind", *["1,2,a"] * 100]).load()


def test_line_that_does_not_end_is_refused_before_it_fills_the_memory(table):
    source = table(lines())
    with source.path.open("r+b") as file:
        file.truncate(2**31)

    with pytest.raises(DataError, match="has a line of more than 16,777,216 characters; is it a table of text"):
        source.load()


def test_many_columns_are_checked_in_no_time(table):
    names = [f"c{column}" for column in range(20_000)]
    started = time.perf_counter()

    samples = raw(
        table([",".join(["kind", *names]), *(",".join(["ab"[row % 2], *["1"] * 20_000]) for row in range(4))])
    )

    assert samples.inputs.shape == (4, 20_000)
    assert time.perf_counter() - started < 1  # comparing each with each would take three
    with pytest.raises(DataError, match="has no column 'kind'; did you mean"):
        table([",".join(names), "1"]).load()
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (["a", "a ", "b"], "classes 'a' and 'a ' look alike"),
        (["é", "e\u0301", "b"], "look alike"),
        (["a", "A", "b"], ""),
    ],
)
def test_classes_that_look_alike_are_a_warning(table, labels, alike):
    dataset = table(["length,kind", *(f"{row},{labels[row % 3]}" for row in range(NUM_ROWS))]).load()

    assert dataset.num_classes == 3
    assert [alike in warning for warning in dataset.warnings] == ([True] if alike else [])


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8", "cp1252"])
def test_encoding_can_be_named(table, encoding):
    content = "\n".join(["length,kind", *(f"{row},{'éü'[row % 2]}" for row in range(NUM_ROWS))])

    assert raw(table(content.encode(encoding), encoding=encoding)).class_names == ("é", "ü")


def test_byte_order_mark_is_no_part_of_the_header(table):
    samples = raw(table(codecs.BOM_UTF8 + "\n".join(lines()).encode()))

    assert samples.feature_names == ("length", "width")


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
def test_delimiter_can_be_named(table, delimiter):
    samples = raw(table([text.replace(",", delimiter) for text in lines()], delimiter=delimiter))

    assert samples.inputs.shape == (NUM_ROWS, 2)


def test_quotes_spaces_and_blank_lines_are_part_of_the_format(table):
    content = ["length, kind, width", '1, "a, b", 2', "", *(f"{row}, c, 0" for row in range(3)), '4, "a, b", 5', ""]

    samples = raw(table("\r\n".join(content)))

    assert samples.class_names == ("a, b", "c")
    assert samples.inputs[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"delimiter": ",,"}, "delimiter is ',,'; it must be one character"),
        ({"delimiter": ""}, "delimiter is ''; it must be one character"),
        ({"delimiter": '"'}, "it must be one character, no quote or line break"),
        ({"delimiter": "\n"}, "it must be one character, no quote or line break"),
        ({"encoding": "hex"}, "encoding is hex; it must be one that Python knows"),
        ({"encoding": "utf-9"}, "encoding is utf-9; it must be one that Python knows"),
        ({"encoding": "undefined"}, "encoding is undefined; it must be one that Python knows"),
        ({"encoding": "utf\0"}, "it must be one that Python knows"),
    ],
)
def test_setting_out_of_range_is_a_value_error(fields, message):
    with pytest.raises(ValueError, match=message):
        CSV(path="table.csv", target="kind", **fields)


@settings(max_examples=150, deadline=None)
@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=20))
def test_every_finite_number_is_read_exactly(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("table") / "numbers.csv"
    write(path, ["x,kind", *(f"{number!r},{row % 2}" for row, number in enumerate(numbers))])

    np.testing.assert_array_equal(raw(CSV(path=path, target="kind")).inputs[:, 0], numbers)


@settings(max_examples=200, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutated_table_is_a_data_set_or_a_data_error(tmp_path_factory, edits):
    content = bytearray("\n".join(lines(20)).encode())
    for position, value in edits:
        content[position] = value
    path = write(tmp_path_factory.mktemp("table") / "mutated.csv", bytes(content))

    try:
        dataset = CSV(path=path, target="kind").load()
    except DataError:
        return

    assert np.isfinite(dataset.train.inputs).all()
