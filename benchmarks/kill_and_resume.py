"""What kills cost: the time of a sweep that is killed again and again, over the time of one that is left alone.

    python benchmarks/kill_and_resume.py [--kills 20] [--seed 0]

Both train the same cells, of about a second each, on this machine alone. Each kill goes to the command, or to the one
process that trains for it, by SIGINT, SIGTERM or SIGKILL, some seconds after the command has come to its first cell;
then the same command is given again. The aim is a ratio of at most 2.5; the exit status is 1 if it is missed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RULES = """
import time

from nnbench.nn import GD


class Slow(GD):
    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        time.sleep(0.005)
"""
NUM_RATES = 30
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def prepare(folder: Path) -> list[str]:
    """Write the rule into a folder; return the command."""
    (folder / "own" / "optimizer").mkdir(parents=True)
    (folder / "rules.py").write_text(RULES, encoding="utf-8")
    (folder / "own" / "optimizer" / "slow.yaml").write_text("_target_: rules.Slow\nlearning_rate: 0.1\n")
    rates = ",".join(f"{rate / 100:.2f}" for rate in range(1, NUM_RATES + 1))
    settings = ["dataset=iris", "hidden=[4]", "seeds=2", "num_epochs=50", "report=false", "optimizer=slow"]
    sweep = ["-m", "--config-dir=own", "plugins=[rules]", *settings, "activation=relu,tanh"]
    return [sys.executable, "-m", "nnbench", *sweep, f"optimizer.learning_rate={rates}"]


def start(folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    with (folder / "words").open("ab") as words:
        return subprocess.Popen(command, cwd=folder, stdout=words, stderr=words, start_new_session=True)


def child_of(process: int) -> int | None:
    """Return the process that trains for a command."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True).stdout.split()
    return int(found[0]) if found else None


def disturbed(folder: Path, command: list[str], num_kills: int, draw: random.Random) -> tuple[float, int]:
    """Return the seconds of all commands together until one comes to the end, and how many kills there were."""
    started, kills = time.perf_counter(), 0
    while True:
        running = start(folder, command)
        begun = begun_in(folder)
        while running.poll() is None:
            time.sleep(0.05)
            if kills < num_kills and begun_in(folder) - begun:
                time.sleep(draw.uniform(0.5, 6))
                begun = begun_in(folder)
                victim = child_of(running.pid) if draw.random() < 0.3 else running.pid
                if running.poll() is None and victim is not None:
                    os.kill(victim, signal.SIGKILL if victim != running.pid else draw.choice(SIGNALS))
                    kills += 1
                    if victim == running.pid:
                        running.wait()  # a child that is killed is replaced, and may be killed again
        if running.returncode == 0:
            return time.perf_counter() - started, kills


def begun_in(folder: Path) -> set[Path]:
    """Return the folders of the cells that are being trained, or were when their process was killed."""
    return {path.parent for path in folder.glob("multirun/*/*/begun.json")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        alone, _ = disturbed(Path(one), prepare(Path(one)), 0, random.Random(0))
        seconds, kills = disturbed(Path(other), prepare(Path(other)), options.kills, random.Random(options.seed))
    ratio = seconds / alone
    print(f"undisturbed {alone:.1f} s, with {kills} kills {seconds:.1f} s: ratio {ratio:.2f}, to reach 2.5")
    return int(ratio > 2.5)


if __name__ == "__main__":
    sys.exit(main())
