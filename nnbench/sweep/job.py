"""One cell from configuration to record: load, train, write, publish.

`prepare` is called once for a sweep, before any job; `run` once for each job, in whatever process the launcher chose.
"""

import json
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from nnbench.data.loading import load
from nnbench.grid import Grid, Job
from nnbench.nn import Training
from nnbench.protocol.cell import Cell, finish, start
from nnbench.protocol.fingerprint import fingerprint
from nnbench.settings import parse
from nnbench.terminal import CellProgress, say
from nnbench.tracking import record
from nnbench.tracking.record import Identity

if TYPE_CHECKING:
    from nnbench.data import Dataset
    from nnbench.tracking.publish import Publisher

SWEEP_FILE = "sweep.json"
PAUSES = (0.3, 1.0, 3.0)  # seconds between attempts to publish to a local database
FLUSH_EVERY = 10.0  # seconds between the flushes of a training cell's curves to MLflow


@dataclass(frozen=True)
class SweepFile:
    """What every job of a sweep may want to know."""

    sweep: str
    study: str
    command: str
    labels: list[str]
    fingerprints: list[str]
    finished: dict[str, str]  # fingerprint -> id of the run that has the result already

    def write(self, folder: Path) -> None:
        """Write it into the sweep's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SWEEP_FILE).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "SweepFile":
        """Read it from the sweep's folder."""
        return cls(**json.loads((folder / SWEEP_FILE).read_text(encoding="utf-8")))


def prepare(plan: Grid, datasets: "Sequence[Dataset]") -> None:
    """Create folder and store, publish what earlier sweeps left behind, find the cells that need no training."""
    fingerprints = [
        fingerprint(job.config, dataset.digest, plan.activation_choices)
        for job, dataset in zip(plan.jobs, datasets, strict=True)
    ]
    first = plan.jobs[0]
    finished: dict[str, str] = {}
    if first.tracked:
        from nnbench.tracking import publish, read, store

        if not store.exists(store.resolve(first.tracking_uri)):
            say("creating the store, once")
        try:
            store.prepare(first.tracking_uri, first.experiment)
            publish.publish_all(record.unpublished(Path.cwd()))
            if first.config["resume"]:
                runs = read.finished_cells(first.tracking_uri, first.experiment)
                finished = {mark: run for mark, run in runs.items() if mark in fingerprints}
        except Exception as error:
            if store.is_local(store.resolve(first.tracking_uri)):
                raise  # a file that cannot be used now will not mend itself
            say(f"warning: the server does not answer ({error}); training goes on, python -m nnbench sync publishes it")
    sweep = SweepFile(plan.sweep, first.study, plan.command, [job.label for job in plan.jobs], fingerprints, finished)
    sweep.write(plan.folder)


def run(
    job: Job, *, number: int, folder: Path, sweep_folder: Path, activation_choices: Mapping[str, Mapping[str, Any]]
) -> None:
    """Train a cell unless its result is there, and leave a record of whatever happens."""
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
    if mark in sweep.finished and _fetched(job, sweep.finished[mark], folder, progress):
        return

    attempt = _Attempt(job, identity, folder, started=time.time())
    try:
        # One BLAS thread: small matrices gain nothing from more, and the bits stay the same.
        with progress, threadpool_limits(1):
            cell = parse(job.config, job.choices, activation_choices)
            accuracy = attempt.train(cell, progress)
        progress.line(accuracy)
    except Exception as error:  # one failure costs one cell
        attempt.failed(error)
        progress.line(f"failed: {type(error).__name__}: {error}")
    except BaseException:
        attempt.interrupted()
        raise


def _fetched(job: Job, run_id: str, folder: Path, progress: CellProgress) -> bool:
    """Bring back the result that an earlier sweep left in MLflow; say if that cannot be done."""
    from nnbench.tracking import read

    try:
        read.fetch(job.tracking_uri, run_id, folder)
    except Exception as error:  # artifacts may be gone while the run is still there
        progress.line(f"its result of run {run_id} cannot be fetched, so it is trained again: {error}")
        return False
    progress.line("is finished already; resume=false trains it again")
    return True


class _Attempt:
    """One try at a cell; what it knows of MLflow and of the clock."""

    def __init__(self, job: Job, identity: Identity, folder: Path, *, started: float):
        self.job = job
        self.identity = identity
        self.folder = folder
        self.started = started
        self.live: Publisher | None = None
        self.last_flush = perf_counter()

    def train(self, cell: Cell, progress: CellProgress) -> str:
        """Train, write the record, publish it; return a line on the outcome."""
        dataset = load(cell.source, cell.dtype)
        training = start(cell, dataset)

        def on_epoch(training: Training) -> None:
            progress.epoch_done(training)
            if self.job.tracked and perf_counter() - self.last_flush > FLUSH_EVERY:
                self._flush(cell, training)

        training.run(dataset.train, dataset.validation, on_epoch=on_epoch)
        result = finish(cell, dataset, training)
        record.write(
            self.folder, self.identity, self.job.config, self.job.choices, dataset, result, started=self.started
        )
        note = self._publish()
        accuracy = result.summary["test/accuracy"]
        diverged = sum(status == "diverged" for status in result.statuses)
        return (
            f"test accuracy {accuracy.mean():.2%}, {training.train_seconds:.1f} s"
            f"{f', {diverged} of {len(accuracy)} seeds diverged' if diverged else ''}{note}"
        )

    def failed(self, error: Exception) -> None:
        """Record an exception as the cell's result."""
        record.write_failure(
            self.folder,
            self.identity,
            self.job.config,
            self.job.choices,
            error=error,
            details=traceback.format_exc(),
            started=self.started,
        )
        self._publish()

    def interrupted(self) -> None:
        """Close the runs of a cell that is stopped in the middle."""
        if self.live is not None:
            self.live.close("interrupted")

    def _flush(self, cell: Cell, training: Training) -> None:
        """Let MLflow show the curves so far; a store in trouble costs the training nothing but this attempt."""
        from nnbench.tracking.publish import Publisher

        try:
            if self.live is None:
                self.live = Publisher(self.job.tracking_uri, self.job.experiment, self.identity)
            history = record.history_table(cell.seeds, training.history)
            self.live.flush(self.job.config, self.job.choices, history, self.started)
        except Exception:  # the record is published as a whole when the cell is done
            self.live = None
        self.last_flush = perf_counter()

    def _publish(self) -> str:
        """Bring MLflow up to the record; return what to say if that must wait."""
        if not self.job.tracked:
            return ""
        from nnbench.tracking import publish, store

        # Writers beside this one can make a local database refuse at once, whatever its patience; publishing adds
        # nothing twice, so it is tried again. A server has its own retries.
        pauses = PAUSES if store.is_local(store.resolve(self.job.tracking_uri)) else ()
        for pause in (*pauses, None):
            try:
                publish.publish(self.folder / record.FOLDER, self.job.tracking_uri, self.job.experiment)
                break
            except Exception as error:  # the record is on the disk; the next command or `sync` publishes it
                if pause is None:
                    reason = f"{type(error).__name__}: {error}"
                    return f"; not in MLflow yet ({reason}), python -m nnbench sync publishes it"
                time.sleep(pause)
        return ""
