"""Downloads of published files: checked by SHA-256, kept in a cache, moved there only when whole."""

import os
from pathlib import Path
from typing import IO, Any

from nnbench.data.dataset import DataError

NUM_ROUNDS = 2  # times that every mirror is tried
TIMEOUT_SECONDS = (10, 30)  # to connect, and between two pieces of an answer
MAX_BYTES = 2**30  # of an answer; the largest of the published files has 30 MB


def cache_folder() -> Path:
    """Return the folder in which downloads are kept, as the operating system wants it."""
    import pooch

    return Path(pooch.os_cache("nnbench"))


def download(file_name: str, sha256: str, mirrors: tuple[str, ...], folder: Path) -> Path:
    """Return the file in `folder`, from the first mirror that gives the right content if it is not there yet."""
    import pooch

    failures: dict[str, str] = {}
    for _ in range(NUM_ROUNDS):
        for mirror in mirrors:
            url = f"{mirror.rstrip('/')}/{file_name}"
            try:
                # Writes to a temporary file, compares, and renames; a sound file in the folder is returned as it is.
                return Path(pooch.retrieve(url, f"sha256:{sha256}", file_name, folder, downloader=save_answer))
            except OSError as error:  # every failure of the network is one
                failures[url] = str(error)
            except ValueError:
                failures[url] = f"the content is not the published file, whose SHA-256 is {sha256}"
    reasons = "; ".join(f"{url}: {reason}" for url, reason in failures.items()) or "no mirror is given"
    raise DataError(
        f"{file_name} is not in {folder} and could not be downloaded ({reasons}); check the network, or put the files "
        "in a folder of yours and set dataset.root to it"
    )


def save_answer(url: str, path: str, _pooch: Any) -> None:
    """Write what a server answers to a file, as `pooch` asks for it; raises OSError where it does not end."""
    import pooch

    # Some servers pack what is packed already if they may, and the checksum would then be that of something else.
    get = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS, headers={"Accept-Encoding": "identity"})
    with Path(path).open("wb") as file:
        get(url, Bounded(file), None)


class Bounded:
    """A file that takes `MAX_BYTES` and no more."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.flush = file.flush

    def write(self, content: bytes) -> None:
        """Write to the file; raises OSError where that is too much."""
        if self.file.tell() + len(content) > MAX_BYTES:
            raise OSError(f"the answer has more than {MAX_BYTES} bytes")
        self.file.write(content)


def shared_folder(name: str) -> Path | None:
    """Return the folder of the data set `name` below $NNBENCH_DATA, if that is set."""
    shared = os.environ.get("NNBENCH_DATA")
    return Path(shared) / name if shared else None
