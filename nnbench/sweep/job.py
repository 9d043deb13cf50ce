"""One cell from configuration to record: load, train, write, publish.

`prepare` is called once for a sweep, before any job; `run` once for each job, in whatever process the launcher chose.
"""

import errno
import json
import shutil
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from threadpoolctl import threadpool_limits

from nnbench.data.loading import load
from nnbench.grid import Grid, Job
from nnbench.nn import Training
from nnbench.protocol import baselines
from nnbench.protocol.baselines import BaselineCell, BaselineResult
from nnbench.protocol.cell import Cell
from nnbench.protocol.checkpoint import Checkpoint
from nnbench.protocol.fingerprint import OF_BASELINES, fingerprint
from nnbench.protocol.result import CellResult, Stage
from nnbench.protocol.result import run as run_cell
from nnbench.settings import parse
from nnbench.sweep import outbox
from nnbench.sweep.claims import Claim
from nnbench.sweep.supervision import WORK, stopped_by, tell
from nnbench.sweep.sweep_file import NAME, SweepFile
from nnbench.terminal import CellProgress, say
from nnbench.tracking import contents, record
from nnbench.tracking.record import Identity
from nnbench.tracking.trouble import StoreError, bounded, wake

if TYPE_CHECKING:
    import pandas as pd

    from nnbench.data import Dataset
    from nnbench.tracking.publish import Publisher

FLUSH_EVERY = 10.0  # seconds between the flushes of a training cell's curves to MLflow
SAVE_EVERY = 120.0  # seconds between the checkpoints of a cell
BEGUN = "begun.json"  # in a job's folder while its cell is not done: a line of `attempts`
MOST_KILLS = 2  # times that a cell's process may be killed before the cell is to blame
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
MOST_FLUSH = 10.0  # seconds of a flush, after which MLflow gets no further call of it
MOST_NAMED = 5  # damaged results that have a line
IN_A_FILE = (
    "a file of the configuration has a tracking.uri with a password, which would be written into every sweep's folder; "
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI, or give it on the command line"
)
IS_FINISHED = "is finished already; resume=false trains it again"
_told: set[str] = set()  # what this process has said of stores in trouble


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
        about=first.config["about"],
        to_reach=first.config["to_reach"],
    )
    asked_only = first.config["dry_run"]
    if first.tracked:
        from nnbench.tracking import publish, store

        uri = store.resolve(first.tracking_uri)
        if first.tracking_uri and store.without_credentials(first.tracking_uri) != first.tracking_uri:
            raise StoreError(IN_A_FILE, "refusal")
        store_is_out = False
        try:
            if not asked_only:
                with bounded(uri):
                    _open_store(first)
                outbox.publish("before the training")
                wake(uri)  # though that may have taken too long
            with bounded(uri):
                if not asked_only:
                    publish.close_abandoned(uri, first.experiment)
                if first.config["resume"] and store.exists(uri):
                    sweep = replace(sweep, finished=_finished(first, sweep.fingerprints))
                if plan.multirun and not asked_only:
                    outbox.announce(first, sweep)
        except StoreError as error:
            if error.kind != "outage" and store.is_local(uri):
                raise  # a file that cannot be used now will not mend itself
            store_is_out = True
            _told.add(str(error))
            say(f"warning: {error}; training goes on, python -m nnbench sync publishes it")
        if first.config["resume"]:
            sweep = replace(sweep, waiting=outbox.results(first, sweep, store_is_out=store_is_out))
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
    if first.tracked and _is_local(first):
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


def run(
    job: Job,
    *,
    number: int,
    folder: Path,
    sweep_folder: Path,
    activation_choices: Mapping[str, Mapping[str, Any]],
    alone: bool = True,
    patient: bool = False,
) -> None:
    """Train a cell unless its result is there or on its way, and leave a record of whatever happens.

    A cell that another command has in hand is left to it; so is, for the end, one that was killed more than once in
    company, where a kill costs other cells, too (`alone` is false). The sweep comes back to both, see `left`, as
    `patient` as it takes. Raises `NoRoomError` if the disk is full.
    """
    sweep = SweepFile.read(sweep_folder)
    mark = sweep.fingerprints[number]
    identity = Identity(
        sweep=sweep.sweep,
        job=number,
        study=sweep.study,
        label=sweep.labels[number],
        command=sweep.command,
        fingerprint=mark,
    )
    progress = CellProgress(
        identity.label,
        job=number,
        num_cells=len(sweep.labels),
        num_epochs=job.config["num_epochs"],
        shown=job.config["progress"],
    )
    if mark in sweep.fingerprints[:number]:
        progress.line(f"is the same setting as cell {sweep.fingerprints.index(mark) + 1}; trained once")
        return
    if has_outcome(folder):  # an earlier process of this sweep has left it
        return
    if mark in sweep.finished and _fetched(job, sweep.finished[mark], folder, progress):
        return
    if mark in sweep.waiting and _copied(Path(sweep.waiting[mark]), folder, progress, said=IS_FINISHED):
        return
    claim = Claim(Path.cwd(), mark) if job.config["resume"] else None
    with nullcontext(True) if claim is None else claim.taken(sweep.sweep) as taken:
        if not taken:
            if not patient:
                progress.line(f"is in the hands of {cast(Claim, claim).holder()}; this sweep comes back to it")
            return
        if claim is not None and (new := claim.result()) not in (None, sweep.results_before.get(mark)):
            said = f"was trained by another command meanwhile, in {Path(str(new)).parent}"
            if _copied(claim.root / str(new), folder, progress, said=said):
                return
        attempt = _Attempt(job, identity, folder, claim)
        killed = attempts(folder)
        if len(killed) < MOST_KILLS or (alone and not killed[-1]):
            attempt.make(activation_choices, progress, alone=alone)
        elif alone:
            error = KilledError(f"its process was killed, or left, {len(killed)} times; perhaps it wants more memory")
            attempt.failed(error)
            progress.line(f"failed: {error}")


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


def attempts(folder: Path) -> list[bool]:
    """Return of each time that a job's cell was begun, and not ended, whether it was trained alone."""
    try:
        content = json.loads((folder / BEGUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return content if isinstance(content, list) else []


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


class ChangedError(Exception):
    """A job does not train what the sweep was planned with."""


class KilledError(Exception):
    """The process that trained a cell was killed, again and again."""


class NoRoomError(SystemExit):
    """The disk is full, so that no cell can leave a record; ends the sweep, whichever launcher runs its jobs."""


def _no_room(error: OSError, folder: Path) -> NoRoomError:
    """Return the end of a sweep whose disk is full."""
    free = shutil.disk_usage(folder if folder.exists() else Path.cwd()).free
    place = error.filename or folder
    way_out = "make room and give the command again; what is done is safe"
    return NoRoomError(f"{place} cannot be written: {error.strerror}, {free / 1e6:.1f} MB are free; {way_out}")


class _Attempt:
    """One try at a cell; what it knows of MLflow and of the clock."""

    def __init__(self, job: Job, identity: Identity, folder: Path, claim: Claim | None):
        self.job = job
        self.identity = identity
        self.folder = folder
        self.claim = claim
        self.started = time.time()
        self.live: Publisher | None = None
        self.last_flush = perf_counter()
        self.reached = "its start"

    def make(self, activation_choices: Mapping[str, Mapping[str, Any]], progress: CellProgress, *, alone: bool) -> None:
        """Train the cell, or fit it, and leave a record of whatever happens."""
        tell(WORK)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / BEGUN).write_text(json.dumps([*attempts(self.folder), alone]), encoding="utf-8")
            # One BLAS thread: small matrices gain nothing from more, and the bits stay the same.
            with progress, threadpool_limits(1):
                cell = parse(self.job.config, self.job.choices, activation_choices)
                dataset = load(cell.source, cell.dtype)
                if fingerprint(self.job.config, dataset.digest, activation_choices) != self.identity.fingerprint:
                    raise ChangedError(
                        "the settings or the data are not those with which the sweep was planned; keep its files as "
                        "they are, and values that change by themselves, such as ${now:}, out of them"
                    )
                if isinstance(cell, BaselineCell):
                    line = self.fit(cell, dataset)
                else:
                    line = self.train(cell, dataset, progress)
            progress.line(line)
        except BaseException as error:
            if stopped_by() is not None or isinstance(error, KeyboardInterrupt | GeneratorExit):
                self.interrupted(error)
                raise
            # One failure costs one cell, that of a plugin which calls sys.exit, too.
            self.failed(error)
            progress.line(f"failed: {type(error).__name__}: {error}")

    def train(self, cell: Cell, dataset: "Dataset", progress: CellProgress) -> str:
        """Train, write the record, publish it; return a line on the outcome."""

        def on_epoch(stage: Stage, training: Training) -> None:
            self.reached = f"epoch {training.epoch} of {cell.num_epochs}, stage {stage}"
            progress.epoch_done(stage, training)
            if self.job.tracked and perf_counter() - self.last_flush > FLUSH_EVERY:
                self._flush(_history(cell, dataset, stage, training))

        checkpoint = None
        if self.claim is not None:
            checkpoint = Checkpoint(self.claim.checkpoints, every=SAVE_EVERY, tell=progress.line)
        result = run_cell(cell, dataset, on_epoch=on_epoch, checkpoint=checkpoint)
        self._write(dataset, result)
        if checkpoint is not None:
            checkpoint.clear()
        return _line(result) + self._publish()

    def fit(self, cell: BaselineCell, dataset: "Dataset") -> str:
        """Do the same with a baseline."""
        result = baselines.run(cell, dataset)
        self._write(dataset, result)
        fits = f"{result.num_fits} fit{'' if result.num_fits == 1 else 's'}"
        said = f"; scikit-learn warns: {'; '.join(result.warnings)}" if result.warnings else ""
        accuracy = result.summary["test/accuracy"].mean()
        return f"test accuracy {accuracy:.2%}, {fits}, {result.fit_seconds:.1f} s{said}" + self._publish()

    def _write(self, dataset: "Dataset", result: CellResult | BaselineResult) -> None:
        written = record.write(
            self.folder, self.identity, self.job.config, self.job.choices, dataset, result, started=self.started
        )
        (self.folder / BEGUN).unlink()
        if self.claim is not None:
            self.claim.keep_result(written)

    def failed(self, error: BaseException) -> None:
        """Record an exception as the cell's result; raises `NoRoomError` where it is that the disk is full."""
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise _no_room(error, self.folder) from error
        try:
            record.write_failure(
                self.folder,
                self.identity,
                self.job.config,
                self.job.choices,
                error=error,
                details="".join(traceback.format_exception(error)),
                started=self.started,
            )
        except OSError as second:
            raise _no_room(second, self.folder) from second
        (self.folder / BEGUN).unlink(missing_ok=True)
        self._publish()

    def interrupted(self, error: BaseException) -> None:
        """Record that the cell was stopped in the middle, in MLflow, too, unless that would take a server's time."""
        if (self.folder / record.FOLDER).is_dir():  # the result is safe, only its way to MLflow was cut short
            if self.live is not None:
                self.live.close("interrupted")
            return
        stop = stopped_by()
        cause = "Ctrl-C" if stop == signal.SIGINT else type(error).__name__ if stop is None else stop.name
        try:
            record.write_interruption(
                self.folder,
                self.identity,
                self.job.config,
                self.job.choices,
                reason=f"stopped by {cause} at {self.reached}",
                started=self.started,
            )
        except OSError:  # the disk is full; the run in MLflow, if there is one, is closed by the next command
            return
        if self.live is not None or (self.job.tracked and _is_local(self.job)):
            self._publish()

    def _flush(self, history: "pd.DataFrame | None") -> None:
        """Let MLflow show the curves so far; a store in trouble costs the training nothing but this attempt."""
        from nnbench.tracking import store
        from nnbench.tracking.publish import Publisher

        try:
            with bounded(store.resolve(self.job.tracking_uri), MOST_FLUSH):
                if self.live is None:
                    self.live = Publisher(self.job.tracking_uri, self.job.experiment, self.identity)
                self.live.flush(self.job.config, self.job.choices, history, self.started)
        except Exception:  # the record is published as a whole when the cell is done
            self.live = None
        self.last_flush = perf_counter()

    def _publish(self) -> str:
        """Bring MLflow up to the record; return what to say if that must wait, the reason but once."""
        if not self.job.tracked:
            return ""
        from nnbench.tracking import publish, store

        try:
            publish.publish_in_time(self.folder / record.FOLDER, self.job.tracking_uri, self.job.experiment)
        except Exception as error:  # the record is on the disk; the end of the sweep or `sync` publishes it
            reason = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            if reason in _told:
                return "; not in MLflow yet"
            _told.add(reason)
            return f"; not in MLflow yet ({store.without_credentials(reason)}), python -m nnbench sync publishes it"
        return ""


def _history(cell: Cell, dataset: "Dataset", stage: Stage, training: Training) -> "pd.DataFrame | None":
    """Return the curves that will be those of the result; none while other replicas train, or a part of these."""
    if stage != "final" or len(training.diverged) < len(cell.seeds):
        return None
    history = contents.history_table(cell.seeds, training.history)
    return contents.score_divergence(history, 1 / dataset.num_classes)


def _is_local(job: Job) -> bool:
    from nnbench.tracking import store

    return store.is_local(store.resolve(job.tracking_uri))


def _line(result: CellResult) -> str:
    """Return what came of a cell, in a line."""
    accuracy = result.final.summary["test/accuracy"]
    parts = [f"test accuracy {accuracy.mean():.2%}", f"{result.final.trained.train_seconds:.1f} s"]
    if result.tuning is not None:
        edge = " at the edge of the grid" if result.tuning.at_edge else ""
        parts += [f"{name} {value:g}{edge}" for name, value in result.tuning.chosen.items()]
        parts.append(f"tuned in {result.tuning.train_seconds:.1f} s")
    if diverged := int(result.final.trained.diverged.sum()):
        parts.append(f"{diverged} of {len(accuracy)} seeds diverged")
    elif result.finding.name != "healthy":
        parts.append(result.finding.name)
    return ", ".join(parts)
