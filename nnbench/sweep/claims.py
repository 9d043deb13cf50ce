"""Who trains a cell: one process at a time of all that work below a folder, and what is left of one that died.

Each cell has two folders of its own below `.nnbench`, by its fingerprint. One has a lock that the kernel takes back
from a dead process, who holds it, and where the last result lies; the other is there while a long training is not done.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from filelock import FileLock, Timeout

from nnbench.tracking import process

CELLS = Path(".nnbench", "cells")  # below the current folder
CHECKPOINTS = Path(".nnbench", "checkpoints")
HOLDER = "holder.json"
RESULT = "result.json"


def prepare(root: Path) -> None:
    """Raise OSError, before anything is trained, where no claim can be written below `root`."""
    (root / CELLS).mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=root / CELLS):
        pass


class Claim:
    """The right to train the cell of a fingerprint below the folder `root`."""

    def __init__(self, root: Path, fingerprint: str):
        self.root = root
        self.folder = root / CELLS / fingerprint[:32]
        self.checkpoints = root / CHECKPOINTS / fingerprint

    @contextmanager
    def taken(self, sweep: str) -> Iterator[bool]:
        """Take the claim if nobody has it, and tell whether this process has it now.

        Where something else lies in the place of the lock nobody can have it; then the cell is trained without.
        """
        lock = FileLock(self.folder / "lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError:
            yield True
            return
        try:
            since = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
            with suppress(OSError):  # the lock counts, this is for people
                self._write(HOLDER, {"process": process.mark(), "sweep": sweep, "since": since})
            yield True
        finally:
            lock.release()

    def holder(self) -> str:
        """Return who holds the claim, in words."""
        holder = self._read(HOLDER)
        host, _, number = str(holder.get("process", "")).rpartition(" ")[0].rpartition(" ")
        if not number:
            return "another process"
        return f"process {number} on {host} (sweep {holder.get('sweep')}, since {holder.get('since')})"

    def result(self) -> str | None:
        """Return the record folder of the cell's newest result that was trained below the root, as a path from it."""
        place = self._read(RESULT).get("record")
        return place if isinstance(place, str) else None

    def keep_result(self, folder: Path) -> None:
        """Remember the record folder of a result."""
        self._write(RESULT, {"record": os.path.relpath(folder, self.root)})

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, name: str, content: dict[str, str]) -> None:
        temporary = self.folder / f"{name}.tmp"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.folder / name)
