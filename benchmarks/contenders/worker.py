"""The process of one contender: pinned to one core, it trains when it is told to.

Commands and answers are lines of JSON. {"begin": {...}} builds the contender for a problem and answers its number of
replicas; {"epochs": n} trains n more epochs and answers their seconds; {"loss": true} answers the training loss.
"""

import importlib
import json
import os
import sys
from typing import Any

import numpy as np

from contenders.problem import Problem


def pin() -> None:
    """Keep this process, and the threads that it will start, on the last core it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def load(problem: dict[str, Any]) -> Problem:
    """Return the problem whose arrays lie in files."""
    return Problem(
        layer_sizes=tuple(problem["layer_sizes"]),
        batch_size=problem["batch_size"],
        inputs=np.load(problem["inputs"]),
        labels=np.load(problem["labels"]),
    )


def main(module: str, name: str, options: dict[str, Any]) -> None:
    """Answer every command until the commands end."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    build = getattr(importlib.import_module(f"contenders.{module}"), name)
    contender: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        if "begin" in command:
            contender = None  # its memory is free before the next one is built
            contender = build(load(command["begin"]), **options)
            answer = contender.num_replicas
        elif "epochs" in command:
            answer = sum(contender.train_epoch() for _ in range(command["epochs"]))
        else:
            answer = contender.loss()
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    pin()
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
