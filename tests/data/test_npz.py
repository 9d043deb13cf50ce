"""NumPy archives: exact data or one `DataError`; nothing is unpickled, no header is believed with memory."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbench.data import NPZ, DataError

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(30, 2))
LABELS = np.arange(30) % 3


def archive_of(*, save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def zipped(compression=zipfile.ZIP_STORED, **members):
    """An archive of members given as bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(text, version=1):
    """The start of an .npy file with any text as header."""
    encoded = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(encoded)) + encoded


SOUND = archive_of(inputs=INPUTS, labels=LABELS)


@pytest.fixture
def source(tmp_path):
    def npz(content, **fields):
        path = tmp_path / "mine.npz"
        path.write_bytes(content)
        return NPZ(path=path, scaling="none", **fields)

    return npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_sound_archive_is_read_exactly(source, save):
    samples = source(archive_of(save=save, inputs=INPUTS, labels=LABELS)).read()

    np.testing.assert_array_equal(samples.inputs, INPUTS)
    np.testing.assert_array_equal(samples.labels, LABELS)
    assert samples.class_names == ("0", "1", "2")
    assert samples.feature_names == ("feature_0", "feature_1")
    assert samples.name == "mine"


@pytest.mark.parametrize("dtype", ["f4", ">f8", "f2", "i8", "u1", "?"])
def test_any_numbers_are_inputs(source, dtype):
    inputs = np.asfortranarray((10 * INPUTS).astype(dtype))

    samples = source(archive_of(inputs=inputs, labels=LABELS)).read()

    np.testing.assert_array_equal(samples.inputs, inputs.astype(np.float64))


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (LABELS.astype(np.uint8), ("0", "1", "2")),
        (LABELS.astype(np.float32), ("0", "1", "2")),
        (LABELS == 1, ("0", "1")),
        (8 + LABELS, ("8", "9", "10")),
        (np.array(["b", "a", "10"])[LABELS], ("10", "a", "b")),
    ],
)
def test_whole_numbers_and_text_are_labels(source, labels, class_names):
    assert source(archive_of(inputs=INPUTS, labels=labels)).read().class_names == class_names


def test_images_keep_their_shape(source):
    images = RNG.integers(256, size=(30, 4, 3), dtype=np.uint8)

    dataset = source(archive_of(inputs=images, labels=LABELS)).load()

    assert dataset.image_shape == (4, 3)
    assert dataset.feature_names[-1] == "pixel_3_2"


def test_test_arrays_are_the_test_split(source):
    content = archive_of(inputs=INPUTS, labels=LABELS, test_inputs=INPUTS[:5] + 100, test_labels=LABELS[:5])

    dataset = source(content).load(np.float64)

    np.testing.assert_array_equal(dataset.test.inputs, INPUTS[:5] + 100)
    assert len(dataset.train) + len(dataset.validation) == 30


def test_array_that_is_not_used_is_a_warning(source):
    dataset = source(archive_of(inputs=INPUTS, labels=LABELS, test_input=INPUTS)).load()

    assert any("has arrays that are not used: 'test_input.npy'" in warning for warning in dataset.warnings)


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path("payload-ran"),))


SHAPE = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"
TRAPS = {
    "nothing": (b"", "is not a sound NumPy archive"),
    "one array": (npy(INPUTS), "is not a sound NumPy archive"),
    "pickle": (pickle.dumps(Payload()), "is not a sound NumPy archive"),
    "cut off": (archive_of(inputs=INPUTS, labels=LABELS)[:-40], "is not a sound NumPy archive"),
    "empty archive": (archive_of(), "has no array 'inputs', only nothing"),
    "other names": (archive_of(x=INPUTS, y=LABELS), "has no array 'inputs', only 'x.npy', 'y.npy'"),
    "two archives": (archive_of(inputs=INPUTS + 1, labels=LABELS) + SOUND, "holds more than one archive"),
    "trailing bytes": (SOUND + bytes(8), "holds more than one archive"),
    "leading bytes": (bytes(8) + SOUND, "holds more than one archive"),
    "same array twice": (
        zipped(inputs=npy(INPUTS), labels=npy(LABELS), inputz=npy(INPUTS)).replace(b"inputz", b"inputs"),
        "has two arrays 'inputs'",
    ),
    "lzma": (
        zipped(zipfile.ZIP_LZMA, inputs=npy(INPUTS), labels=npy(LABELS)),
        "is packed in a way that NumPy does not",
    ),
    "no characters": (
        zipped(inputs=npy(INPUTS), labels=npy(np.array(["a", "b", "c"])[LABELS])[:-1] + b"\x7f"),
        "holds numbers that are no characters",
    ),
    "line break": (
        archive_of(inputs=INPUTS, labels=np.array(["a\n", "b"])[LABELS % 2]),
        "row 1: the name of a class is",
    ),
    "half a test part": (archive_of(inputs=INPUTS, labels=LABELS, test_inputs=INPUTS), "has no array 'test_labels'"),
    "other test features": (
        archive_of(inputs=INPUTS, labels=LABELS, test_inputs=INPUTS[:, :1], test_labels=LABELS),
        "a sample of inputs has the shape (2,), one of test_inputs (1,)",
    ),
    "objects": (
        zipped(inputs=npy(INPUTS), labels=npy(np.array([Payload()] * 30, dtype=object))),
        "labels has the type object",
    ),
    "records": (archive_of(inputs=np.zeros(30, dtype="f8,i4"), labels=LABELS), "which is not read"),
    "complex": (archive_of(inputs=INPUTS * 1j, labels=LABELS), "inputs has the type complex128"),
    "dates": (archive_of(inputs=INPUTS, labels=LABELS.astype("M8[s]")), "labels has the type datetime64[s]"),
    "flat inputs": (archive_of(inputs=INPUTS[:, 0], labels=LABELS), "inputs has the shape (30,)"),
    "colour images": (archive_of(inputs=np.zeros((30, 4, 4, 3)), labels=LABELS), "inputs has the shape (30, 4, 4, 3)"),
    "text inputs": (archive_of(inputs=np.full((30, 2), "a"), labels=LABELS), "the type <U1; it must be numbers"),
    "one-hot labels": (archive_of(inputs=INPUTS, labels=np.eye(3)[LABELS]), "labels has the shape (30, 3)"),
    "fewer labels": (archive_of(inputs=INPUTS, labels=LABELS[:9]), "labels has the shape (9,); it must be (30,)"),
    "negative label": (archive_of(inputs=INPUTS, labels=LABELS - 1), "labels[0] is -1"),
    "fraction": (archive_of(inputs=INPUTS, labels=LABELS + 0.5), "labels[0] is 0.5"),
    "NaN label": (archive_of(inputs=INPUTS, labels=np.where(LABELS, LABELS, np.nan)), "labels[0] is nan"),
    "infinite label": (archive_of(inputs=INPUTS, labels=np.where(LABELS, LABELS, np.inf)), "labels[0] is inf"),
    "empty label": (archive_of(inputs=INPUTS, labels=np.array(["", "a", "b"])[LABELS]), "labels[0] is ''"),
    "NaN": (archive_of(inputs=np.where(INPUTS > 1, np.nan, INPUTS), labels=LABELS), "is nan; every feature must be"),
    "infinite": (archive_of(inputs=INPUTS * np.inf, labels=LABELS), "inf; every feature"),
    "one class": (archive_of(inputs=INPUTS, labels=LABELS * 0), "needs at least 2 classes"),
    "no samples": (archive_of(inputs=INPUTS[:0], labels=LABELS[:0]), "which holds nothing"),
    "no features": (archive_of(inputs=INPUTS[:, :0], labels=LABELS), "which holds nothing"),
    "endless features": (
        zipped(inputs=header(SHAPE % "(0, 99999999999)"), labels=npy(LABELS[:0])),
        "which holds nothing",
    ),
    "claims 8 GB": (zipped(inputs=header(SHAPE % "(1000000000,)"), labels=npy(LABELS)), "claims the shape"),
    "claims 8 TB": (zipped(inputs=header(SHAPE % "(1000000000000,)"), labels=npy(LABELS)), "claims the shape"),
    "claims more than 64 bits": (
        zipped(inputs=header(SHAPE % "(99999999999, 99999999999)"), labels=npy(LABELS)),
        "claims the shape",
    ),
    "negative size": (zipped(inputs=header(SHAPE % "(-1, 2)") + bytes(64), labels=npy(LABELS)), "claims the shape"),
    "more than claimed": (zipped(inputs=npy(INPUTS) + b"\0", labels=npy(LABELS)), "does not have the 480 bytes"),
    "less than claimed": (zipped(inputs=npy(INPUTS)[:-1], labels=npy(LABELS)), "does not have the 480 bytes"),
    "no header": (zipped(inputs=b"\x93NUMPY", labels=npy(LABELS)), "is not a sound NumPy archive"),
    "odd header": (zipped(inputs=header("__import__('os')"), labels=npy(LABELS)), "is not a sound NumPy archive"),
    "deep header": (zipped(inputs=header("(" * 5000, 2), labels=npy(LABELS)), "is not a sound NumPy archive"),
    "later version": (zipped(inputs=header(SHAPE % "(1,)", 3), labels=npy(LABELS)), "version (3, 0) of the format"),
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap_is_one_clear_error(source, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, message = TRAPS[name]
    npz = source(content)
    tracemalloc.start()

    with pytest.raises(DataError) as error:
        npz.load()

    assert message in str(error.value)
    assert str(npz.path) in str(error.value)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert not Path("payload-ran").exists()


def test_directory_that_lies_about_sizes_takes_no_memory(source):
    """Both the header and the directory of the archive claim 8 TB."""
    content = zipped(inputs=header(SHAPE % "(1000000000000,)"), labels=npy(LABELS))
    entry = content.index(b"PK\x01\x02")
    # 32-bit sizes in the directory: the largest that need no extension.
    lying = content[: entry + 20] + struct.pack("<II", 2**32 - 2, 2**32 - 2) + content[entry + 28 :]
    tracemalloc.start()

    with pytest.raises(DataError):
        source(lying).load()

    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_bomb_is_unpacked_no_further_than_its_header_claims(source):
    bomb = zipped(zipfile.ZIP_DEFLATED, inputs=npy(INPUTS) + bytes(50_000_000), labels=npy(LABELS))
    tracemalloc.start()

    with pytest.raises(DataError, match="does not have the 480 bytes"):
        source(bomb).load()

    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing\.npz does not exist"):
        NPZ(path=tmp_path / "missing.npz").load()


PACKED = archive_of(save=np.savez_compressed, inputs=INPUTS, labels=LABELS)
positions = st.integers(0, len(PACKED) - 1)


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(st.tuples(positions, st.integers(0, 255)), max_size=4),
    end=st.one_of(st.none(), positions),
    tail=st.binary(max_size=20),
)
def test_mutated_archive_gives_exact_data_or_a_data_error(tmp_path_factory, edits, end, tail):
    content = bytearray(PACKED)
    for position, value in edits:
        content[position] = value
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    path.write_bytes(bytes(content[:end]) + tail)

    try:
        samples = NPZ(path=path).read()
    except DataError:
        return

    np.testing.assert_array_equal(samples.inputs, INPUTS)
    np.testing.assert_array_equal(samples.labels, LABELS)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(max_codepoint=255), max_size=80), body=st.binary(max_size=40))
def test_any_header_is_a_data_error(tmp_path_factory, text, body):
    path = tmp_path_factory.getbasetemp() / "header.npz"
    path.write_bytes(zipped(inputs=header(text) + body, labels=npy(LABELS)))

    with pytest.raises(DataError):
        NPZ(path=path).read()
