"""Which cells of a sweep have a result, which have none, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nnbench.tracking import read, record, sweeps
from nnbench.tracking.read import Attempt

WITH_RESULT = ("done", "diverged")
STATES = ("done", "partly diverged", "diverged", "running", "interrupted", "failed", "missing")


@dataclass(frozen=True)
class Coverage:
    """What a sweep was to train and what is there.

    `cells` has one row for each cell: cell (its label), optimizer, activation, state and reason. A cell is "diverged"
    if all of its seeds have; if some have, it is done, and the reason counts them.
    """

    study: str
    sweep: str | None  # None: all cells that the study has, as no sweep of it is known
    command: str
    cells: pd.DataFrame
    num_others: int = 0  # cells of the study that are not of this sweep

    @property
    def complete(self) -> bool:
        """Whether every cell has a result."""
        return bool(self.cells["state"].isin(WITH_RESULT).all())

    def matrix(self) -> pd.DataFrame:
        """Return what became of each optimizer (row) with each activation (column), in words."""
        partly = (self.cells["state"] == "done") & self.cells["reason"].str.endswith("seeds diverged")
        words = self.cells["state"].where(~partly, "partly diverged")
        return self.cells.assign(state=words).pivot_table(
            index="optimizer", columns="activation", values="state", aggfunc=_in_words, sort=False, fill_value="-"
        )


def coverage(uri: str, study: str, sweep: str | None = None) -> Coverage | None:
    """Return the coverage of a sweep, by default the newest of the study; None if the store knows neither."""
    attempts = read.attempts(uri, study)
    plan = sweeps.find(uri, study, sweep)
    if plan is None:
        attempts = [attempt for attempt in attempts if sweep is None or attempt.sweep == sweep]
        plan = _plan_of(attempts)
    if plan is None:
        return None
    attempts_by_fingerprint: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        attempts_by_fingerprint.setdefault(attempt.fingerprint, []).append(attempt)
    waiting = _waiting(study)
    rows = []
    for label, choices, fingerprint in zip(plan["labels"], plan["choices"], plan["fingerprints"], strict=True):
        state, reason = _state(attempts_by_fingerprint.get(fingerprint, []), waiting.get(fingerprint, []))
        chosen = {group: choices[group] for group in ("optimizer", "activation")}
        rows.append({"cell": label, **chosen, "state": state, "reason": reason, "fingerprint": fingerprint})
    cells = pd.DataFrame(rows).drop_duplicates("fingerprint", ignore_index=True).drop(columns="fingerprint")
    num_others = len(attempts_by_fingerprint.keys() - set(plan["fingerprints"]))
    return Coverage(study, plan["sweep"], plan["command"], cells, num_others)


def _plan_of(attempts: Sequence[Attempt]) -> dict[str, Any] | None:
    """Return the cells of these attempts, newest first, as if a sweep had planned them; None if there are none."""
    newest = {attempt.fingerprint: attempt for attempt in reversed(attempts)}
    if not newest:
        return None
    return {
        "sweep": None,
        "command": "",
        "labels": [attempt.label for attempt in newest.values()],
        "choices": [attempt.choices for attempt in newest.values()],
        "fingerprints": list(newest),
    }


def _state(attempts: Sequence[Attempt], waiting: Sequence[record.Record]) -> tuple[str, str]:
    """Return state and reason of a cell from its attempts and its records that MLflow lacks, both newest first."""
    for attempt in attempts:
        if attempt.state in WITH_RESULT:
            return attempt.state, attempt.reason
    way_out = "not in MLflow yet; python -m nnbench sync publishes it"
    for cell in waiting:
        if cell.status in ("finished", "diverged"):
            return "diverged" if cell.status == "diverged" else "done", way_out
    if attempts:
        return attempts[0].state, attempts[0].reason
    if waiting:
        return waiting[0].status, f"{waiting[0].cell['error']}; {way_out}"
    return "missing", "not trained yet"


def _waiting(study: str) -> dict[str, list[record.Record]]:
    """Return the records of a study below the current folder that MLflow lacks, newest first, by fingerprint."""
    waiting: dict[str, list[record.Record]] = {}
    for folder in record.unpublished(Path.cwd()):
        try:
            cell = record.read(folder)
        except ValueError:  # damaged: as good as missing
            continue
        if cell.experiment == study:
            waiting.setdefault(cell.identity.fingerprint, []).insert(0, cell)
    return waiting


def _in_words(states: pd.Series) -> str:
    """Return one state, or the count of each: done, 3 done 1 failed."""
    counts = states.value_counts()
    if len(counts) == 1 and len(states) == 1:
        return str(counts.index[0])
    return ", ".join(f"{counts[state]} {state}" for state in STATES if state in counts)
