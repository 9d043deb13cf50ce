"""What the tests of the data sets share: a source made of arrays, a small IDX data set, a real HTTP server."""

import gzip
import os
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from nnbench.data import Samples, Source, Split


@dataclass(frozen=True, kw_only=True)
class Arrays(Source):
    """A data set made of arrays."""

    inputs: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...] | None = None
    test: tuple[np.ndarray, np.ndarray] | None = None

    def read(self) -> Samples:
        class_names = self.class_names or tuple(f"class {label}" for label in range(int(self.labels.max()) + 1))
        return Samples(
            name="arrays",
            origin="arrays",
            inputs=self.inputs,
            labels=self.labels,
            class_names=class_names,
            feature_names=tuple(f"feature {column}" for column in range(self.inputs.shape[-1])),
            test=Split(*self.test) if self.test else None,
        )


@pytest.fixture
def arrays() -> type[Arrays]:
    return Arrays


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


@pytest.fixture
def idx_files() -> dict[str, bytes]:
    """A data set of 60 + 20 images of 4 x 3 pixels in the format of MNIST: file names and packed content."""
    rng = np.random.default_rng(0)
    content = {}
    for part, count in (("train", 60), ("t10k", 20)):
        content[f"{part}-images-idx3-ubyte.gz"] = rng.integers(256, size=(count, 4, 3), dtype=np.uint8)
        content[f"{part}-labels-idx1-ubyte.gz"] = (np.arange(count) % 10).astype(np.uint8)
    return {name: packed(idx_bytes(array)) for name, array in content.items()}


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    folder = Path(os.environ.get("NNBENCH_DATA", "")) / "mnist"
    if not os.environ.get("NNBENCH_DATA") or not folder.is_dir():
        pytest.skip("the genuine MNIST files are not here; NNBENCH_DATA names the folder above mnist/")
    return folder


@dataclass
class Server:
    """A web server on this machine; `answers` maps a path to a body, or to a function that writes the answer."""

    answers: dict = field(default_factory=dict)
    requests: Counter = field(default_factory=Counter)
    address: str = ""

    def serve(self, folder: str, files: dict[str, bytes]) -> str:
        """Offer `files` below `folder` and return the address of the folder."""
        self.answers |= {f"/{folder}/{name}": content for name, content in files.items()}
        return f"{self.address}/{folder}/"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served.requests[self.path] += 1
            answer = served.answers.get(self.path)
            if answer is None:
                self.send_error(404)
            elif callable(answer):
                answer(self)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *args):
            pass

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.address = f"http://127.0.0.1:{http_server.server_port}"
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    http_server.shutdown()
    thread.join()
    http_server.server_close()
