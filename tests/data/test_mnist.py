"""MNIST and its like: where the files are found, how they are downloaded, what is refused."""

import contextlib
import gzip
import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from nnbench.data import KMNIST, MNIST, DataError, FashionMNIST
from nnbench.data import download as downloads
from nnbench.data import mnist as family

TRAIN_LABELS = "train-labels-idx1-ubyte.gz"


def sha256_of(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch, idx_files) -> Path:
    """An empty cache, no shared folder, and checksums as if the small data set were the published one."""
    monkeypatch.setattr(family, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(family, "MNIST_SHA256", sha256_of(idx_files))
    monkeypatch.setattr(family, "MNIST_DIGEST", None)
    monkeypatch.delenv("NNBENCH_DATA", raising=False)
    return tmp_path / "cache" / "mnist"


def test_download_gives_the_data_set_and_then_works_offline(server, cache, idx_files):
    source = MNIST(mirrors=(server.serve("good", idx_files),))
    first = source.load()
    num_requests = server.requests.total()
    server.answers.clear()

    second = source.load()

    assert (len(first.train), len(first.validation), len(first.test)) == (50, 10, 20)
    assert first.image_shape == (4, 3)
    assert first.digest == second.digest
    assert server.requests.total() == num_requests == 4
    assert sorted(path.name for path in cache.iterdir()) == sorted(idx_files)


def cut_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"\x1f\x8b" + bytes(100))


def silent(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.flush()
    time.sleep(0.5)


def web_page(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    handler.wfile.write(b"<html>Please log in to this network</html>")


def redirect_to_nowhere(handler):
    handler.send_response(302)
    handler.send_header("Location", "/login")
    handler.end_headers()


def redirect_to_itself(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):  # the client has had enough
        while True:
            handler.wfile.write(bytes(2**16))


def longer_than_said(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "10")
    handler.end_headers()
    handler.wfile.write(b"\x1f\x8b" + bytes(100))


FAILURES = {
    "cut off": cut_off,
    "silent": silent,
    "web page": web_page,
    "redirected": redirect_to_nowhere,
    "redirected for ever": redirect_to_itself,
    "endless": endless,
    "longer than said": longer_than_said,
    "other content": gzip.compress(b"something else"),
    "empty": b"",
    "not found": None,
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failing_mirror_is_followed_by_the_next(server, cache, idx_files, monkeypatch, failure):
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", (0.2, 0.2))
    monkeypatch.setattr(downloads, "MAX_BYTES", 10**6)
    bad = server.serve("bad", dict.fromkeys(idx_files, FAILURES[failure]))
    good = server.serve("good", idx_files)

    dataset = MNIST(mirrors=(bad, good)).load()

    assert len(dataset.test) == 20
    assert (server.requests[f"/bad/{TRAIN_LABELS}"] == 1) or failure == "redirected for ever"
    assert sorted(path.name for path in cache.iterdir()) == sorted(idx_files)


@pytest.mark.parametrize("failure", FAILURES)
def test_failing_mirrors_are_one_error_and_leave_nothing_behind(server, cache, idx_files, monkeypatch, failure):
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", (0.2, 0.2))
    monkeypatch.setattr(downloads, "MAX_BYTES", 10**6)
    mirrors = tuple(server.serve(name, dict.fromkeys(idx_files, FAILURES[failure])) for name in ("one", "two"))

    with pytest.raises(DataError) as error:
        MNIST(mirrors=mirrors).load()

    assert f"train-images-idx3-ubyte.gz is not in {cache} and could not be downloaded" in str(error.value)
    assert all(mirror in str(error.value) for mirror in mirrors)
    assert "set dataset.root" in str(error.value)
    assert list(cache.glob("*")) == []
    if failure != "redirected for ever":
        assert server.requests["/one/train-images-idx3-ubyte.gz"] == downloads.NUM_ROUNDS


def test_redirection_to_the_right_content_is_followed(server, cache, idx_files):
    def move(handler):
        handler.send_response(302)
        handler.send_header("Location", handler.path.replace("/old/", "/good/"))
        handler.end_headers()

    server.serve("good", idx_files)
    mirror = server.serve("old", dict.fromkeys(idx_files, move))

    assert len(MNIST(mirrors=(mirror,)).load().test) == 20


def test_mirror_that_recovers_is_tried_again(server, cache, idx_files):
    def recover(handler):
        server.serve("flaky", idx_files)
        cut_off(handler)

    mirror = server.serve("flaky", dict.fromkeys(idx_files, recover))

    assert len(MNIST(mirrors=(mirror,)).load().test) == 20


def test_no_network_is_a_data_error(server, cache, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", (0.2, 0.2))

    with pytest.raises(DataError, match="check the network"):
        MNIST(mirrors=("http://127.0.0.1:9/mnist/",)).load()  # the discard port, on which nothing listens
    with pytest.raises(DataError, match="no mirror is given"):
        MNIST(mirrors=()).load()


def test_damaged_file_in_the_cache_is_downloaded_again(server, cache, idx_files):
    source = MNIST(mirrors=(server.serve("good", idx_files),))
    source.load()
    (cache / TRAIN_LABELS).write_bytes(b"damaged")

    source.load()

    assert (cache / TRAIN_LABELS).read_bytes() == idx_files[TRAIN_LABELS]
    assert server.requests[f"/good/{TRAIN_LABELS}"] == 2


def test_unwritable_cache_is_a_data_error(server, cache, idx_files):
    cache.parent.write_text("a file where the folder should be")

    with pytest.raises(DataError, match="could not be downloaded"):
        MNIST(mirrors=(server.serve("good", idx_files),)).load()


@pytest.mark.parametrize("unpacked", [False, True])
def test_root_holds_packed_or_unpacked_files(tmp_path, cache, idx_files, unpacked):
    files = {name.removesuffix(".gz"): gzip.decompress(content) for name, content in idx_files.items()}
    folder = write(tmp_path / "mine", files if unpacked else idx_files)

    assert len(MNIST(root=folder).load().test) == 20


def test_root_without_the_files_is_named(tmp_path, cache, idx_files):
    del idx_files[TRAIN_LABELS]
    folder = write(tmp_path / "mine", idx_files)

    with pytest.raises(DataError, match=f"{folder} has no train-labels-idx1-ubyte"):
        MNIST(root=folder).load()


def test_places_are_searched_in_order(tmp_path, cache, idx_files, server, monkeypatch):
    def label_everything(digit):
        return idx_files | {
            name: gzip.compress(gzip.decompress(content)[:8] + bytes([digit, 0]) * ((len(content_of) - 8) // 2))
            for name, content in idx_files.items()
            if "labels" in name
            for content_of in [gzip.decompress(content)]
        }

    root = write(tmp_path / "mine", label_everything(1))
    write(tmp_path / "shared" / "mnist", label_everything(2))
    monkeypatch.setenv("NNBENCH_DATA", str(tmp_path / "shared"))
    mirrors = (server.serve("good", idx_files),)

    assert set(MNIST(root=root, mirrors=mirrors).load().test.labels) == {0, 1}
    assert set(MNIST(mirrors=mirrors).load().test.labels) == {0, 2}
    assert not server.requests
    monkeypatch.setenv("NNBENCH_DATA", str(tmp_path))  # has no folder mnist
    assert len(set(MNIST(mirrors=mirrors).load().test.labels)) == 10


def test_counts_that_differ_are_refused(tmp_path, cache, idx_files):
    idx_files[TRAIN_LABELS] = idx_files["t10k-labels-idx1-ubyte.gz"]

    with pytest.raises(DataError, match=r"holds 60 images but .* 20 labels"):
        MNIST(root=write(tmp_path / "mine", idx_files)).load()


def test_image_shapes_that_differ_are_refused(tmp_path, cache, idx_files):
    images = bytearray(gzip.decompress(idx_files["t10k-images-idx3-ubyte.gz"]))
    images[11], images[15] = 3, 4  # 3 x 4 instead of 4 x 3
    idx_files["t10k-images-idx3-ubyte.gz"] = gzip.compress(images)

    with pytest.raises(DataError, match=r"images of \(4, 3\) pixels but .* of \(3, 4\)"):
        MNIST(root=write(tmp_path / "mine", idx_files)).load()


def test_label_out_of_range_is_refused(tmp_path, cache, idx_files):
    labels = bytearray(gzip.decompress(idx_files[TRAIN_LABELS]))
    labels[8 + 6] = 10
    idx_files[TRAIN_LABELS] = gzip.compress(labels)

    with pytest.raises(DataError, match=r"train-labels.* label 10 of image 7 is not between 0 and 9"):
        MNIST(root=write(tmp_path / "mine", idx_files)).load()


def test_files_of_another_data_set_are_noticed(tmp_path, cache, idx_files, monkeypatch):
    monkeypatch.setattr(family, "MNIST_DIGEST", "0" * 64)
    folder = write(tmp_path / "mine", idx_files)

    assert MNIST(root=folder).load().warnings == (f"{folder} does not hold the published mnist: its content differs",)


@pytest.mark.parametrize(
    ("source", "class_name"), [(MNIST, "9"), (FashionMNIST, "Ankle boot"), (KMNIST, "wo")], ids=lambda value: str(value)
)
def test_classes_are_named(tmp_path, cache, idx_files, source, class_name):
    dataset = source(root=write(tmp_path / "mine", idx_files)).load()

    assert dataset.num_classes == 10
    assert dataset.class_names[9] == class_name
    assert dataset.feature_names[-1] == "pixel_3_2"


def test_mirror_must_be_an_address():
    with pytest.raises(ValueError, match="mirrors is ftp://host/; it must be addresses that start with https://"):
        KMNIST(mirrors=("ftp://host/",))


@pytest.mark.mnist
def test_genuine_mnist_is_complete(mnist_folder):
    dataset = MNIST().load()

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (50_000, 10_000, 10_000)
    assert (dataset.train.inputs.min(), dataset.train.inputs.max()) == (0, 1)
    assert dataset.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert dataset.warnings == ()
    whole = np.bincount(np.concatenate([dataset.train.labels, dataset.validation.labels]))
    np.testing.assert_allclose(np.bincount(dataset.validation.labels), whole / 6, atol=1)


@pytest.mark.mnist
def test_genuine_mnist_is_downloaded(server, tmp_path, monkeypatch, mnist_folder):
    files = {path.name: path.read_bytes() for path in mnist_folder.glob("*.gz")}
    monkeypatch.setattr(family, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(family, "MNIST_SHA256", sha256_of(files))
    monkeypatch.delenv("NNBENCH_DATA")

    dataset = MNIST(mirrors=(server.serve("good", files),), num_samples=600).load()

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (500, 100, 10_000)
    assert dataset.warnings == ()
