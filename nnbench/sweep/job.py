"""The jobs of a sweep: whether the result is there already, and who trains it.

A `Task` is run once for each job, in whatever process it may be.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from nnbench.grid import Grid, Job
from nnbench.sweep.attempt import Attempt, KilledError, attempts
from nnbench.sweep.claims import Claim
from nnbench.sweep.plan import ALONE, AtOnce
from nnbench.sweep.sweep_file import SweepFile
from nnbench.terminal import CellProgress
from nnbench.tracking import record
from nnbench.tracking.record import Identity

MOST_KILLS = 2  # times that a cell's process may be killed before the cell is to blame
IS_FINISHED = "is finished already; resume=false trains it again"


@dataclass(frozen=True)
class Task:
    """A job of a sweep, and where its record goes."""

    job: Job
    number: int
    folder: Path
    sweep_folder: Path

    def settled(self, *, send: Callable[..., None] | None = None) -> bool:
        """Whether there is nothing to train, as the result is there or on its way; it is brought where it lacks.

        `send` is as in `run`.
        """
        sweep = SweepFile.read(self.sweep_folder)
        mark = sweep.fingerprints[self.number]
        progress = self._progress(sweep, send)
        if mark in sweep.fingerprints[: self.number]:
            progress.line(f"is the same setting as cell {sweep.fingerprints.index(mark) + 1}; trained once")
            return True
        if has_outcome(self.folder):  # an earlier process of this sweep has left it
            return True
        if mark in sweep.finished and _fetched(self.job, sweep.finished[mark], self.folder, progress):
            return True
        if mark not in sweep.waiting:
            return False
        return _copied(Path(sweep.waiting[mark]), self.folder, progress, said=IS_FINISHED)

    def run(
        self,
        activation_choices: Mapping[str, Mapping[str, Any]],
        *,
        alone: bool = True,
        patient: bool = False,
        at_once: AtOnce = ALONE,
        send: Callable[..., None] | None = None,
    ) -> None:
        """Train a cell that is not settled, and leave a record of whatever happens.

        A cell that another command has in hand is left to it; so is, for the end, one that was killed more than once in
        company, where a kill costs other cells, too (`alone` is false). The sweep comes back to both, see `left`, as
        `patient` as it takes. A worker's parent publishes and is told by `send` how it goes, see `CellProgress`. Raises
        `NoRoomError` if the disk is full.
        """
        sweep = SweepFile.read(self.sweep_folder)
        mark = sweep.fingerprints[self.number]
        progress = self._progress(sweep, send)
        claim = Claim(Path.cwd(), mark) if self.job.config["resume"] else None
        with nullcontext(True) if claim is None else claim.taken(sweep.sweep) as taken:
            if not taken:
                if not patient:
                    progress.line(f"is in the hands of {cast(Claim, claim).holder()}; this sweep comes back to it")
                return
            if claim is not None and (new := claim.result()) not in (None, sweep.results_before.get(mark)):
                said = f"was trained by another command meanwhile, in {Path(str(new)).parent}"
                if _copied(claim.root / str(new), self.folder, progress, said=said):
                    return
            identity = Identity(
                sweep=sweep.sweep,
                job=self.number,
                study=sweep.study,
                label=sweep.labels[self.number],
                command=sweep.command,
                fingerprint=mark,
            )
            attempt = Attempt(self.job, identity, self.folder, claim, publishes=send is None, at_once=at_once)
            killed = attempts(self.folder)
            if len(killed) < MOST_KILLS or (alone and not killed[-1]):
                attempt.make(activation_choices, progress, alone=alone)
            elif alone:
                error = KilledError(
                    f"its process was killed, or left, {len(killed)} times; perhaps it wants more memory"
                )
                attempt.failed(error)
                progress.line(f"failed: {error}")

    def _progress(self, sweep: SweepFile, send: Callable[..., None] | None) -> CellProgress:
        return CellProgress(
            sweep.labels[self.number],
            job=self.number,
            num_cells=len(sweep.labels),
            num_epochs=self.job.config["num_epochs"],
            shown=self.job.config["progress"],
            send=send,
        )


def task(plan: Grid, number: int) -> Task:
    """Return a job of a grid with its places."""
    return Task(plan.jobs[number], number, plan.folder_of(number), plan.folder)


def has_outcome(folder: Path) -> bool:
    """Whether a job's folder has a record of a result or of a failure."""
    try:
        cell = json.loads((folder / record.FOLDER / record.CELL).read_text(encoding="utf-8"))
        return cell["status"] != "interrupted"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def left(plan: Grid) -> list[int]:
    """Return the jobs that have no outcome in the folder of their sweep, without those that repeat another."""
    marks = SweepFile.read(plan.folder).fingerprints
    return [
        number
        for number, mark in enumerate(marks)
        if mark not in marks[:number] and not has_outcome(plan.folder_of(number))
    ]


def num_begun(plan: Grid) -> int:
    """Return how often the cells that are left have been begun."""
    return sum(len(attempts(plan.folder_of(number))) for number in left(plan))


def _copied(source: Path, folder: Path, progress: CellProgress, *, said: str) -> bool:
    """Bring the result in another job's record folder and say so; say if that cannot be done."""
    try:
        record.copy(source, folder)
    except (OSError, ValueError) as error:
        progress.line(f"its result in {source.parent} cannot be used, so it is trained again: {error}")
        return False
    progress.line(said)
    return True


def _fetched(job: Job, run_id: str, folder: Path, progress: CellProgress) -> bool:
    """Bring back the result that an earlier sweep left in MLflow; say if that cannot be done."""
    from nnbench.tracking import read

    try:
        read.fetch(job.tracking_uri, run_id, folder)
    except Exception as error:  # artifacts may be gone while the run is still there
        progress.line(f"its result of run {run_id} cannot be fetched, so it is trained again: {error}")
        return False
    progress.line(IS_FINISHED)
    return True
