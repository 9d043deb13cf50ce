"""Train a cell in a process that is killed at random moments, again and again until it has come to its end.

`python killed_cell.py FOLDER SEED NUM_KILLS`: the checkpoint, `epochs.txt` with a line for each epoch that was trained
and saved, and `result.npz` are in FOLDER. Prints the exit status of the last process, and how many were killed before.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from protocol_cases import MOONS, all_bits, cell

from nnbench.nn import GD
from nnbench.protocol.checkpoint import Checkpoint
from nnbench.protocol.result import run
from nnbench.protocol.search import LearningRateGrid, Range

CELL = cell(
    seeds=tuple(range(7)),
    num_epochs=16,
    patience=6,
    new_optimizer=GD,
    stack_size=5,
    tuning=LearningRateGrid(num_trials=3, seeds=2, max_extensions=1),
    space={"learning_rate": Range(low=0.003, high=0.03)},
    untuned={"learning_rate": 0.1},
)


def train(folder: Path) -> None:
    """Go on with the cell, and note each epoch that is safe."""
    lines = os.open(folder / "epochs.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def on_epoch(stage, training):
        # No two stacks of a stage have equally many replicas.
        os.write(lines, f"{stage} {len(training.diverged)} {training.epoch}\n".encode())

    result = run(CELL, MOONS, on_epoch=on_epoch, checkpoint=Checkpoint(folder / "cell", every=0))
    np.savez(folder / "result.npz", **all_bits(result))


def main(folder: Path, seed: int, num_kills: int) -> None:
    """Kill each process after some hundredths of a second; let the last one live."""
    rng = random.Random(seed)
    killed = 0
    while True:
        process = os.fork()
        if process == 0:
            train(folder)
            os._exit(0)
        if killed < num_kills:
            time.sleep(rng.uniform(0.02, 0.12))
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if not os.WIFSIGNALED(status):
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status)} {killed}\n")
            return
        killed += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
