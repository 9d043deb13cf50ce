"""One cell from configuration to record: load, train, write, publish.

`prepare` is called once for a sweep, before any job; `run` once for each job, in whatever process the launcher chose.
"""

import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from nnbench.data.loading import load
from nnbench.grid import Grid, Job
from nnbench.nn import Training
from nnbench.protocol import baselines
from nnbench.protocol.baselines import BaselineCell, BaselineResult
from nnbench.protocol.cell import Cell
from nnbench.protocol.fingerprint import OF_BASELINES, fingerprint
from nnbench.protocol.result import CellResult, Stage
from nnbench.protocol.result import run as run_cell
from nnbench.settings import parse
from nnbench.sweep.sweep_file import SweepFile
from nnbench.terminal import CellProgress, say
from nnbench.tracking import contents, record, sweeps
from nnbench.tracking.record import Identity

if TYPE_CHECKING:
    import pandas as pd

    from nnbench.data import Dataset
    from nnbench.tracking.publish import Publisher

PAUSES = (0.3, 1.0, 3.0)  # seconds between attempts to publish to a local database
FLUSH_EVERY = 10.0  # seconds between the flushes of a training cell's curves to MLflow


def fingerprints(plan: Grid, datasets: "Sequence[Dataset]") -> list[str]:
    """Return the fingerprint of each job; jobs with the same one are one cell."""
    return [
        fingerprint(job.config, dataset.digest, plan.activation_choices)
        for job, dataset in zip(plan.jobs, datasets, strict=True)
    ]


def prepare(plan: Grid, datasets: "Sequence[Dataset]") -> SweepFile:
    """Find what there is to train; unless that alone is asked for, create folder and store, and announce the sweep.

    What earlier commands could not publish is published first.
    """
    first = plan.jobs[0]
    sweep = SweepFile(
        sweep=plan.sweep,
        study=first.study,
        command=plan.command,
        labels=[job.label for job in plan.jobs],
        choices=[_choices(job) for job in plan.jobs],
        fingerprints=fingerprints(plan, datasets),
        about=first.config["about"],
        to_reach=first.config["to_reach"],
    )
    asked_only = first.config["dry_run"]
    if first.tracked:
        from nnbench.tracking import store

        uri = store.resolve(first.tracking_uri)
        try:
            if not asked_only:
                _open_store(first)
            if first.config["resume"] and store.exists(uri):
                sweep = replace(sweep, finished=_finished(first, sweep.fingerprints))
            if plan.multirun and not asked_only:
                sweeps.announce(uri, first.experiment, asdict(sweep))
        except Exception as error:
            if store.is_local(uri):
                raise  # a file that cannot be used now will not mend itself
            say(f"warning: the server does not answer ({error}); training goes on, python -m nnbench sync publishes it")
    if not asked_only:
        sweep.write(plan.folder)
    return sweep


def _choices(job: Job) -> dict[str, str]:
    """Return the names chosen in each group that matters to a job; to a baseline no optimizer does."""
    return {group: name for group, name in job.choices.items() if not job.is_baseline or group in OF_BASELINES}


def _open_store(first: Job) -> None:
    """Create store and experiment where they are missing, and bring them up to what has happened on this machine."""
    from nnbench.tracking import publish, store

    if not store.exists(store.resolve(first.tracking_uri)):
        say("creating the store, once")
    store.prepare(first.tracking_uri, first.experiment)
    publish.publish_all(record.unpublished(Path.cwd()))
    publish.close_abandoned(first.tracking_uri, first.experiment)


def _finished(first: Job, fingerprints: Sequence[str]) -> dict[str, str]:
    from nnbench.tracking import read

    runs = read.finished_cells(first.tracking_uri, first.experiment)
    return {mark: run for mark, run in runs.items() if mark in fingerprints}


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
            line = attempt.fit(cell) if isinstance(cell, BaselineCell) else attempt.train(cell, progress)
        progress.line(line)
    except Exception as error:  # one failure costs one cell
        attempt.failed(error)
        progress.line(f"failed: {type(error).__name__}: {error}")
    except SystemExit as error:
        if error.code == 128 + signal.SIGTERM:
            attempt.interrupted(error)
            raise
        attempt.failed(error)  # a plugin has called sys.exit
        progress.line(f"failed: {type(error).__name__}: {error}")
    except BaseException as error:
        attempt.interrupted(error)
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
        self.reached = "its start"

    def train(self, cell: Cell, progress: CellProgress) -> str:
        """Train, write the record, publish it; return a line on the outcome."""
        dataset = load(cell.source, cell.dtype)

        def on_epoch(stage: Stage, training: Training) -> None:
            self.reached = f"epoch {training.epoch} of {cell.num_epochs}, stage {stage}"
            progress.epoch_done(stage, training)
            if self.job.tracked and perf_counter() - self.last_flush > FLUSH_EVERY:
                self._flush(_history(cell, dataset, stage, training))

        result = run_cell(cell, dataset, on_epoch=on_epoch)
        self._write(dataset, result)
        return _line(result) + self._publish()

    def fit(self, cell: BaselineCell) -> str:
        """Do the same with a baseline."""
        dataset = load(cell.source, cell.dtype)
        result = baselines.run(cell, dataset)
        self._write(dataset, result)
        fits = f"{result.num_fits} fit{'' if result.num_fits == 1 else 's'}"
        said = f"; scikit-learn warns: {'; '.join(result.warnings)}" if result.warnings else ""
        accuracy = result.summary["test/accuracy"].mean()
        return f"test accuracy {accuracy:.2%}, {fits}, {result.fit_seconds:.1f} s{said}" + self._publish()

    def _write(self, dataset: "Dataset", result: CellResult | BaselineResult) -> None:
        record.write(
            self.folder, self.identity, self.job.config, self.job.choices, dataset, result, started=self.started
        )

    def failed(self, error: BaseException) -> None:
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

    def interrupted(self, error: BaseException) -> None:
        """Record that the cell was stopped in the middle, in MLflow, too, unless that would take a server's time."""
        if (self.folder / record.FOLDER).is_dir():  # the result is safe, only its way to MLflow was cut short
            if self.live is not None:
                self.live.close("interrupted")
            return
        by_signal = {KeyboardInterrupt: "Ctrl-C", SystemExit: "SIGTERM"}
        cause = by_signal.get(type(error), type(error).__name__)
        record.write_interruption(
            self.folder,
            self.identity,
            self.job.config,
            self.job.choices,
            reason=f"stopped by {cause} at {self.reached}",
            started=self.started,
        )
        if self.live is not None or (self.job.tracked and _is_local(self.job)):
            self._publish()

    def _flush(self, history: "pd.DataFrame | None") -> None:
        """Let MLflow show the curves so far; a store in trouble costs the training nothing but this attempt."""
        from nnbench.tracking.publish import Publisher

        try:
            if self.live is None:
                self.live = Publisher(self.job.tracking_uri, self.job.experiment, self.identity)
            self.live.flush(self.job.config, self.job.choices, history, self.started)
        except Exception:  # the record is published as a whole when the cell is done
            self.live = None
        self.last_flush = perf_counter()

    def _publish(self) -> str:
        """Bring MLflow up to the record; return what to say if that must wait."""
        if not self.job.tracked:
            return ""
        from nnbench.tracking import publish

        # Writers beside this one can make a local database refuse at once, whatever its patience; publishing adds
        # nothing twice, so it is tried again. A server has its own retries.
        pauses = PAUSES if _is_local(self.job) else ()
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
