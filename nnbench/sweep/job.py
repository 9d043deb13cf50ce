"""The jobs of a sweep: what is to be trained, which result is there already, and who trains it.

`prepare` is called once for a sweep, before any job; a `Task` is run once for each job, in whatever process it may be.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nnbench.grid import Grid, Job
from nnbench.protocol.fingerprint import OF_BASELINES, fingerprint
from nnbench.sweep import claims, outbox
from nnbench.sweep.attempt import TOLD, Attempt, KilledError, attempts, is_local
from nnbench.sweep.claims import Claim
from nnbench.sweep.plan import ALONE, AtOnce
from nnbench.sweep.sweep_file import NAME, SweepFile
from nnbench.terminal import CellProgress, say
from nnbench.tracking import record
from nnbench.tracking.record import Identity
from nnbench.tracking.trouble import StoreError, bounded, wake

if TYPE_CHECKING:
    from nnbench.data import Dataset

MOST_KILLS = 2  # times that a cell's process may be killed before the cell is to blame
MOST_NAMED = 5  # damaged results that have a line
IN_A_FILE = (
    "a file of the configuration has a tracking.uri with a password, which would be written into every sweep's folder; "
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI, or give it on the command line"
)
IS_FINISHED = "is finished already; resume=false trains it again"


def fingerprints(plan: Grid, datasets: "Sequence[Dataset]") -> list[str]:
    """Return the fingerprint of each job; jobs with the same one are one cell."""
    return [
        fingerprint(job.config, dataset.digest, plan.activation_choices)
        for job, dataset in zip(plan.jobs, datasets, strict=True)
    ]


def is_begun(plan: Grid) -> bool:
    """Whether a process before this one has begun the sweep, and was killed."""
    return (plan.folder / NAME).exists()


def prepare(plan: Grid, datasets: "Sequence[Dataset]") -> SweepFile:
    """Find what there is to train; unless that alone is asked for, create folder and store, and announce the sweep.

    What earlier commands could not publish is published, too. Raises StoreError for a store on this machine that cannot
    be used; any other may be out for a while, which costs a sweep nothing but what the store knows.
    """
    first = plan.jobs[0]
    if is_begun(plan):
        close_abandoned(plan)
        return SweepFile.read(plan.folder)
    marks = fingerprints(plan, datasets)
    sweep = SweepFile(
        sweep=plan.sweep,
        study=first.study,
        command=plan.command,
        labels=[job.label for job in plan.jobs],
        choices=[_choices(job) for job in plan.jobs],
        fingerprints=marks,
        results_before=_results_before(marks),
        resume=first.config["resume"],
        about=first.config["about"],
        to_reach=first.config["to_reach"],
    )
    asked_only = first.config["dry_run"]
    if first.tracked:
        from nnbench.tracking import store

        if first.tracking_uri and store.without_credentials(first.tracking_uri) != first.tracking_uri:
            raise StoreError(IN_A_FILE, "refusal")
    if not asked_only:
        record.sweep_up(Path.cwd())
        if first.config["resume"]:
            claims.prepare(Path.cwd())
    if first.tracked:
        from nnbench.tracking import publish

        uri = store.resolve(first.tracking_uri)
        seconds = None if store.is_local(uri) else outbox.MOST_SECONDS  # a large file is read for as long as it takes
        waiting: dict[str, str] = {}
        try:
            if not asked_only:
                with bounded(uri, seconds):
                    _open_store(first)
                outbox.publish("before the training")
                wake(uri)  # though that may have taken too long
            with bounded(uri, seconds):
                if not asked_only:
                    publish.close_abandoned(uri, first.experiment)
                if first.config["resume"] and store.exists(uri):
                    sweep = replace(sweep, finished=_finished(first, sweep.fingerprints))
                if first.config["resume"]:
                    waiting = outbox.results(first, sweep, store_is_out=False)
                if plan.multirun and not asked_only:
                    outbox.announce(first, sweep)
        except StoreError as error:
            if error.kind != "outage" and store.is_local(uri):
                raise  # a file that cannot be used now will not mend itself
            TOLD.add(str(error))
            say(f"warning: {error}; training goes on, python -m nnbench sync publishes it")
            if first.config["resume"]:
                waiting = outbox.results(first, sweep, store_is_out=True)
        else:
            if not asked_only:
                outbox.wait_again(map(Path, waiting.values()))
        sweep = replace(sweep, waiting=waiting)
    if not asked_only:
        sweep.write(plan.folder)
    return sweep


def _results_before(marks: Sequence[str]) -> dict[str, str]:
    """Return where each cell that has been trained below the current folder has its newest result, by fingerprint."""
    found = {mark: Claim(Path.cwd(), mark).result() for mark in marks}
    return {mark: place for mark, place in found.items() if place is not None}


def _choices(job: Job) -> dict[str, str]:
    """Return the names chosen in each group that matters to a job; to a baseline no optimizer does."""
    return {group: name for group, name in job.choices.items() if not job.is_baseline or group in OF_BASELINES}


def _open_store(first: Job) -> None:
    """Create store and experiment where they are missing."""
    from nnbench.tracking import store

    uri = store.resolve(first.tracking_uri)
    if not store.exists(uri):
        say("creating the store, once")
        if warning := store.warning_of_disk(uri):
            say(f"warning: {warning}")
    store.prepare(uri, first.experiment)


def close_abandoned(plan: Grid) -> None:
    """Close the runs in a local store that workers which were killed have left open."""
    from nnbench.tracking import publish

    first = plan.jobs[0]
    if first.tracked and is_local(first):
        with suppress(Exception):  # or the next command does it
            publish.close_abandoned(first.tracking_uri, first.experiment)


def _finished(first: Job, fingerprints: Sequence[str]) -> dict[str, str]:
    """Return the run of each fingerprint that has a whole result in the store, and name the damaged ones."""
    from nnbench.tracking import read

    finished, damaged = read.finished_and_damaged(first.tracking_uri, first.experiment, fingerprints)
    for lost in list(damaged.values())[:MOST_NAMED]:
        instead = "an older result of the cell counts" if lost.fingerprint in finished else "the cell is trained again"
        say(f"warning: the result of {lost.name} in the store is damaged ({lost.reason}); {instead}")
    if len(damaged) > MOST_NAMED:
        say(f"warning: {len(damaged) - MOST_NAMED} more results are damaged; python -m nnbench status names them")
    return finished


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
