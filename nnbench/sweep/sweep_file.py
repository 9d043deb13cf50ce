"""What every job of a sweep may want to know, and what the sweep is to train: `sweep.json` in the sweep's folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

NAME = "sweep.json"


@dataclass(frozen=True)
class SweepFile:
    """The cells of a sweep, in the order of its jobs."""

    sweep: str
    study: str
    command: str
    labels: list[str]
    choices: list[dict[str, str]]  # the names chosen in each group
    fingerprints: list[str]
    resume: bool = True  # whether the command, given again, leaves out what is done
    about: dict[str, str] | None = None  # what the study says of itself, see `nnbench.protocol.study`
    to_reach: list[dict[str, Any]] = field(default_factory=list)
    finished: dict[str, str] = field(default_factory=dict)  # fingerprint -> id of the run that has the result already
    results_before: dict[str, str] = field(default_factory=dict)  # fingerprint -> record folder of an earlier command
    waiting: dict[str, str] = field(default_factory=dict)  # fingerprint -> record folder with a result MLflow lacks

    def write(self, folder: Path) -> None:
        """Write it into the sweep's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{NAME}.tmp"
        temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        temporary.replace(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> "SweepFile":
        """Read it from the sweep's folder."""
        return cls(**json.loads((folder / NAME).read_text(encoding="utf-8")))

    @property
    def done(self) -> set[str]:
        """The fingerprints that have a result already, in MLflow or on the way there."""
        return {*self.finished, *self.waiting}

    def missing(self) -> list[int]:
        """Return the jobs that have something to train: no result yet, and not the same setting as an earlier one."""
        done = self.done
        return [
            number
            for number, fingerprint in enumerate(self.fingerprints)
            if fingerprint not in done and fingerprint not in self.fingerprints[:number]
        ]
