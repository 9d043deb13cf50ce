"""Checkpoints: a cell that was killed continues where it was some minutes before, bit for bit.

A cell trains its stacks in turns, or one after the other, and each is known by what determines it: seeds,
hyperparameters, versions. The folder has one file for each stack, the state of its training at the end of some epoch; a
stack that has nothing left to do is its training after the last one. So a cell that runs again trains what no file has,
in the same order, and comes to the same result. A file that is damaged, or of another stack, is as good as none.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from nnbench import __version__
from nnbench.nn import Training
from nnbench.protocol.fingerprint import PROTOCOL_VERSION


class Checkpoint:
    """The checkpoint of one cell, in a folder named by the fingerprint of the cell.

    A stack in training is saved at the end of an epoch once `every` seconds have gone by since its last save, one that
    has ended at once if the cell has been running for so long; so a short cell writes nothing, and a kill costs at most
    about twice `every` seconds of training, or an epoch if that is longer. Trouble with the disk, or with an optimizer
    that cannot be saved, costs the training nothing: `tell` hears of it, once.
    """

    def __init__(self, folder: Path, *, every: float = 120.0, tell: Callable[[str], None] | None = None):
        self.folder = folder
        self.every = every
        self.tell = tell
        self.started = perf_counter()
        self.saved: WeakKeyDictionary[Training, tuple[str, float]] = WeakKeyDictionary()  # identity, and when it was
        self.in_trouble = False

    def begin(self, stack: Mapping[str, Any], build: Callable[[], Training]) -> Training:
        """Return the training of a stack as it was last saved, or else a new one, from `build`.

        `stack` has what determines it beyond the cell, as JSON can hold it.
        """
        training = self._restored(stack, build) or build()
        self.saved[training] = self._identity(stack), perf_counter()
        return training

    def epoch_done(self, training: Training) -> None:
        """Save a training that `begin` returned if it is time to."""
        identity, saved = self.saved[training]
        since = self.started if training.finished else saved
        if perf_counter() - since < self.every:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            training.save(self._path(identity), identity=identity)
        except Exception as error:  # a full disk, an optimizer with hidden state: the training is worth more
            if self.tell is not None and not self.in_trouble:
                self.tell(f"no checkpoint can be saved, training goes on without ({type(error).__name__}: {error})")
            self.in_trouble = True
        self.saved[training] = identity, perf_counter()

    def clear(self) -> None:
        """Remove all files, once the result of the cell is safe."""
        with suppress(OSError):  # they are in nobody's way
            for pattern in ("*.npz", "*.npz.tmp"):
                for path in self.folder.glob(pattern):
                    path.unlink()
            self.folder.rmdir()

    def _restored(self, stack: Mapping[str, Any], build: Callable[[], Training]) -> Training | None:
        identity = self._identity(stack)
        path = self._path(identity)
        try:
            if not path.exists():
                return None
            training = build()
            training.restore(path, identity=identity)
        except Exception as error:  # whatever is the matter, the epochs can be trained again
            if self.tell is not None:
                self.tell(f"a checkpoint cannot be used, so its epochs are trained again: {error}")
            return None
        if self.tell is not None and not training.finished:
            self.tell(f"goes on after epoch {training.epoch} of {training.num_epochs}, where it was saved")
        return training

    def _identity(self, stack: Mapping[str, Any]) -> str:
        """Return all that determines the bits of a stack, as text."""
        processor = np.show_config(mode="dicts")["SIMD Extensions"]  # its kind decides which kernels NumPy runs
        versions = {"protocol": PROTOCOL_VERSION, "nnbench": __version__, "numpy": np.__version__}
        return json.dumps({"cell": self.folder.name, **stack, **versions, "processor": processor}, sort_keys=True)

    def _path(self, identity: str) -> Path:
        return self.folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.npz"
