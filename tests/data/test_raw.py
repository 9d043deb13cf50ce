"""Samples from files for a trained network: read to the number, and every fault is a line with the way out."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nnbench.data import DataError, Scaler, raw

NAMES = ("width", "height", "age")
SHADES = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def save(path, array, mode=None):
    Image.fromarray(array, mode).save(path) if mode is None else Image.fromarray(array).convert(mode).save(path)
    return path


@pytest.mark.parametrize(("mode", "tolerance"), [(None, 0), ("RGB", 0), ("RGBA", 0), ("LA", 0), ("P", 0)])
def test_picture_of_the_right_size_is_read_pixel_by_pixel(tmp_path, mode, tolerance):
    shades, notes = raw.read_picture(save(tmp_path / "a.png", SHADES, mode), (3, 4), invert=False)
    np.testing.assert_allclose(shades, SHADES, atol=tolerance)
    assert notes == []


def test_picture_of_16_bits_has_the_same_range(tmp_path):
    shades, _ = raw.read_picture(save(tmp_path / "a.png", SHADES.astype(np.uint16) * 257), (3, 4), invert=False)
    np.testing.assert_allclose(shades, SHADES)


def test_colour_becomes_its_luminance_and_what_is_transparent_becomes_paper(tmp_path):
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0] = 255, 0, 0, 255
    shades, _ = raw.read_picture(save(tmp_path / "a.png", pixels), (1, 2), invert=False)
    np.testing.assert_allclose(shades, [[0.299 * 255, 255]], atol=1)


def test_inverted_picture_is_its_negative(tmp_path):
    path = save(tmp_path / "a.png", SHADES)
    np.testing.assert_array_equal(raw.read_picture(path, (3, 4), invert=True)[0], 255.0 - SHADES)


def test_picture_of_another_size_is_resized_and_that_is_said(tmp_path):
    path = save(tmp_path / "a.png", np.kron(SHADES, np.ones((5, 5), np.uint8)))
    shades, notes = raw.read_picture(path, (3, 4), invert=False)
    np.testing.assert_allclose(shades, SHADES, atol=1e-4)
    assert notes == ["resized from 20 x 15 to 4 x 3 pixels"]
    _, (note,) = raw.read_picture(path, (5, 5), invert=False)
    assert "changes its proportions" in note


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_said_to_be_none(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="is no picture that can be read"):
        raw.read_picture(tmp_path / "a.png", (3, 4), invert=False)


def test_truncated_picture_is_refused(tmp_path):
    path = save(tmp_path / "a.png", np.random.default_rng(0).integers(255, size=(40, 40)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match="is no picture"):
        raw.read_picture(path, (40, 40), invert=False)


def test_picture_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "MOST_PIXELS", 11)
    with pytest.raises(DataError, match="4 x 3 pixels"):
        raw.read_picture(save(tmp_path / "a.png", SHADES), (3, 4), invert=False)


def test_postscript_is_not_run(tmp_path):
    """Pillow knows EPS: it asks Ghostscript, a program that may write and delete files."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"is no picture that can be read \(cannot identify image file"):
        raw.read_picture(tmp_path / "a.png", (3, 4), invert=False)


def test_bomb_is_refused_for_its_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)  # Pillow refuses it itself
    with pytest.raises(DataError, match=r"a.png has too many pixels; make it smaller, 50,000,000 pixels at most"):
        raw.read_picture(save(tmp_path / "a.png", SHADES), (3, 4), invert=False)


@pytest.mark.parametrize("array", [-SHADES.astype(np.int32), SHADES.astype(np.int32) * 10**6, SHADES / 255])
def test_picture_whose_range_is_not_known_is_refused_by_its_name(tmp_path, array):
    dtype = np.float32 if array.dtype.kind == "f" else np.int32
    with pytest.raises(DataError, match=r"a.tif h.*; save it with 8 or 16 bits"):
        raw.read_picture(save(tmp_path / "a.tif", array.astype(dtype)), (3, 4), invert=False)


def test_of_an_animation_the_first_picture_is_taken_and_that_is_said(tmp_path):
    first, second = Image.fromarray(SHADES), Image.fromarray(255 - SHADES)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    shades, notes = raw.read_picture(tmp_path / "a.gif", (3, 4), invert=False)
    np.testing.assert_allclose(shades, SHADES)
    assert notes == ["it is the first of 2 pictures in the file"]


def rows(tmp_path, text):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    return raw.read_rows(tmp_path / "a.csv", NAMES)


def test_rows_without_a_header_are_in_the_order_of_training(tmp_path):
    inputs, notes = rows(tmp_path, "1,2.5,3e2\n\n4,5,-6\n")
    assert inputs.tolist() == [[1, 2.5, 300], [4, 5, -6]]
    assert notes == []


def test_columns_are_found_by_their_names(tmp_path):
    inputs, notes = rows(tmp_path, "\ufeffage,species,height, width\n1,cat,2,3\n")
    assert inputs.tolist() == [[3, 2, 1]]
    assert notes == ["not used: the column 'species'"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no row of numbers"),
        ("width,height,age\n", "has no row of numbers"),
        ("1,2\n", "line 1 has 2 columns; it must have 3"),
        ("width,height,age\n1,2,3\n1,2\n", "line 3 has 2 columns"),
        ("width,height\n1,2\n", "has no column 'age'; its header names 'width', 'height'"),
        ("width,age,height,age\n1,2,3,4\n", "has the column 'age' more than once"),
        ("1,2,3\n1,two,3\n", "line 2 has 'two' for height"),
        ("1,2,nan\n", "line 1 has 'nan' for age"),
        ("1,2,1e999\n", "line 1 has '1e999' for age"),
        ("1,2,3\n1,2_0,3\n", "line 2 has '2_0' for height"),
        ('1,2,"3\n', "unexpected end of data; give text in UTF-8 with commas"),
        ("1,2,3\n1,2," + "x" * 999 + "\n", "xxx...' for age"),
        ("1;2;3\n", "has no column 'width', 'height', 'age'"),
    ],
)
def test_faulty_table_is_refused_with_the_place(tmp_path, text, message):
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        rows(tmp_path, text)


def test_table_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes("größe\n1\n".encode("latin-1"))
    with pytest.raises(DataError, match="give text in UTF-8"):
        raw.read_rows(tmp_path / "a.csv", NAMES)


@pytest.mark.parametrize("shape", [(12,), (1, 12), (5, 12), (3, 4), (5, 3, 4)])
def test_array_of_one_or_several_samples_is_read(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "a.npy", array)
    inputs = raw.read_array(tmp_path / "a.npy", 12, (3, 4))
    assert inputs.dtype == np.float64
    np.testing.assert_array_equal(inputs, array.reshape(-1, 12))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 3)), r"has the shape \(4, 3\)"),
        (np.zeros((0, 12)), r"has the shape \(0, 12\)"),
        (np.array(["a"] * 12), "must hold numbers"),
        (np.array([None] * 12), "has the type object, which is not read"),
        (np.full(12, np.nan), "not finite"),
    ],
)
def test_faulty_array_is_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        raw.read_array(tmp_path / "a.npy", 12, (3, 4))


def test_archive_and_header_that_lies_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros(12))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(DataError, match="is no array"):
        raw.read_array(tmp_path / "a.npy", 12, None)
    with (tmp_path / "b.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 12)})
    with pytest.raises(DataError, match=r"claims the shape .* 96000000000000 bytes, but has at most 128"):
        raw.read_array(tmp_path / "b.npy", 12, None)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0"])
def test_array_with_less_or_more_than_its_header_says_is_refused(tmp_path, change):
    np.save(tmp_path / "a.npy", np.zeros(12))
    (tmp_path / "a.npy").write_bytes(change((tmp_path / "a.npy").read_bytes()))
    with pytest.raises(DataError, match=r"a\.npy (does not have the 96|claims the shape)"):
        raw.read_array(tmp_path / "a.npy", 12, None)


@pytest.mark.parametrize(
    "read",
    [
        lambda path: raw.read_picture(path, (3, 4), invert=False),
        lambda path: raw.read_rows(path, NAMES),
        lambda path: raw.read_array(path, 12, None),
    ],
)
def test_file_that_is_not_there_is_said_not_to_be(tmp_path, read):
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "nothing")


def test_number_that_overflows_when_it_is_scaled_is_refused():
    with pytest.raises(DataError, match="too large for float32"):
        raw.scaled(np.array([[1e300]]), Scaler(0.0, 1.0), np.dtype(np.float32))


def test_header_of_numbers_is_a_header_where_the_features_are_called_so(tmp_path):
    (tmp_path / "a.csv").write_text("1,0\n5,6\n", encoding="utf-8")
    assert raw.read_rows(tmp_path / "a.csv", ("0", "1"))[0].tolist() == [[6, 5]]


def test_table_or_array_that_would_fill_the_memory_is_refused_unread(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("1,2,3\n" * 5, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(raw, "MOST_NUMBERS", 14)
        with pytest.raises(DataError, match="holds more than 14 numbers; give fewer samples"):
            raw.read_rows(tmp_path / "a.csv", NAMES)
    monkeypatch.setattr(raw, "MOST_BYTES", 29)
    with pytest.raises(DataError, match="30 bytes; give fewer samples, 29 bytes at most"):
        raw.read_rows(tmp_path / "a.csv", NAMES)
    with pytest.raises(DataError, match="bytes; give fewer samples, 29 bytes at most"):
        raw.read_picture(save(tmp_path / "a.png", SHADES), (3, 4), invert=False)
    np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=(4_000_000, 3))  # sparse
    with pytest.raises(DataError, match="12,000,000 numbers; give fewer samples, 10,000,000 numbers at most"):
        raw.read_array(tmp_path / "a.npy", 3, None)


def picture_bytes(kind, **options):
    file = io.BytesIO()
    Image.fromarray(SHADES).save(file, kind, **options)
    return file.getvalue()


def array_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


WHOLE = {
    "PNG": picture_bytes("PNG"),
    "PNG that is stored": picture_bytes("PNG", compress_level=0),
    "BMP": picture_bytes("BMP"),
    "GIF": picture_bytes("GIF"),
    "JPEG": picture_bytes("JPEG"),
    "PPM": picture_bytes("PPM"),
    "npy": array_bytes(SHADES.astype(np.float32)),
    "csv": b"width,height,age\n1,2,3\n4,5e1,-6\n",
}


def read_back(path, kind):
    if kind == "npy":
        return raw.read_array(path, 12, (3, 4))
    if kind == "csv":
        return raw.read_rows(path, NAMES)[0]
    return raw.read_picture(path, (3, 4), invert=False)[0]


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=100, deadline=None)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
    tail=st.binary(max_size=20),
)
def test_mutated_file_gives_numbers_or_a_data_error(tmp_path_factory, kind, edits, keep, tail):
    """A PNG has checksums, so that it gives its own pixels or none; the others cannot tell a shade from another."""
    content = bytearray(WHOLE[kind])
    for place, byte in edits:
        content[int(place * len(content))] = byte
    path = tmp_path_factory.getbasetemp() / f"mutated {kind}"
    path.write_bytes(bytes(content[: int(keep * len(content))]) + tail)

    try:
        numbers = read_back(path, kind)
    except DataError:
        return

    assert np.isfinite(numbers).all()
    if kind.startswith("PNG"):
        np.testing.assert_array_equal(numbers, SHADES)
