"""One try at a cell: load, train or fit, write the record, publish it; and a record of whatever happens."""

import errno
import json
import shutil
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from nnbench.data.loading import load
from nnbench.grid import Job
from nnbench.nn import Training
from nnbench.protocol import baselines
from nnbench.protocol.baselines import BaselineCell, BaselineResult
from nnbench.protocol.cell import Cell
from nnbench.protocol.checkpoint import Checkpoint
from nnbench.protocol.fingerprint import fingerprint
from nnbench.protocol.result import CellResult, Stage
from nnbench.protocol.result import run as run_cell
from nnbench.protocol.stack import histories
from nnbench.settings import parse
from nnbench.sweep.claims import Claim
from nnbench.sweep.plan import ALONE, AtOnce, fitted
from nnbench.sweep.supervision import WORK, stopped_by, tell
from nnbench.terminal import CellProgress
from nnbench.tracking import contents, record
from nnbench.tracking.record import Identity
from nnbench.tracking.trouble import StoreError, bounded

if TYPE_CHECKING:
    import pandas as pd

    from nnbench.data import Dataset
    from nnbench.tracking.publish import Publisher

FLUSH_EVERY = 10.0  # seconds between the flushes of a training cell's curves to MLflow
MOST_FLUSH = 10.0  # seconds of a flush, after which MLflow gets no further call of it
SAVE_EVERY = 120.0  # seconds between the checkpoints of a cell
BEGUN = "begun.json"  # in a job's folder while its cell is not done: a line of `attempts`
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TOLD: set[str] = set()  # what this process has said of stores in trouble


def is_local(job: Job) -> bool:
    """Whether the store of a tracked job is a file of this machine."""
    from nnbench.tracking import store

    return store.is_local(store.resolve(job.tracking_uri))


def attempts(folder: Path) -> list[bool]:
    """Return of each time that a job's cell was begun, and not ended, whether it was trained alone."""
    try:
        content = json.loads((folder / BEGUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return content if isinstance(content, list) else []


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


class Attempt:
    """One try at a cell; what it knows of MLflow and of the clock."""

    def __init__(
        self,
        job: Job,
        identity: Identity,
        folder: Path,
        claim: Claim | None,
        *,
        publishes: bool = True,
        at_once: AtOnce = ALONE,
    ):
        self.publishes = publishes  # or whoever has forked this process does
        self.at_once = at_once
        self.job = job
        self.identity = identity
        self.folder = folder
        self.claim = claim
        self.started = time.time()
        self.live: Publisher | None = None
        self.last_flush = perf_counter()
        self.reached = "its start"
        self.is_written = False  # the record of its result

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
        except BaseException as error:
            if stopped_by() is not None or isinstance(error, KeyboardInterrupt):
                self.interrupted(error)
                raise
            # One failure costs one cell, that of a plugin which calls sys.exit, too; it takes no result back.
            line = f"failed: {type(error).__name__}: {error}"
            if self.is_written:
                line = f"what came behind its result {line}"
            else:
                self.failed(error)
        progress.line(line)

    def train(self, cell: Cell, dataset: "Dataset", progress: CellProgress) -> str:
        """Train, write the record, publish it; return a line on the outcome."""

        final_stacks: list[Training] = []  # while there is something to show of them

        def on_epoch(stage: Stage, training: Training) -> None:
            self.reached = f"epoch {training.epoch} of {cell.num_epochs}, stage {stage}"
            progress.epoch_done(stage, training)
            if stage != "final" or cell.stack_size is not None:  # or they would stay in memory one and all
                final_stacks.clear()
            elif training not in final_stacks:
                final_stacks.append(training)
            if self.job.tracked and perf_counter() - self.last_flush > FLUSH_EVERY:
                self._flush(_history(cell, dataset, final_stacks))

        cell = replace(fitted(cell, dataset, share=self.at_once.cells), stacks_at_once=self.at_once.stacks)
        checkpoint = None
        if self.claim is not None:
            checkpoint = Checkpoint(self.claim.checkpoints, every=SAVE_EVERY, tell=progress.line)
        result = run_cell(cell, dataset, on_epoch=on_epoch, checkpoint=checkpoint)
        self._write(dataset, result)
        if checkpoint is not None:
            checkpoint.clear()
        return _line(result) + self._hand_over()

    def fit(self, cell: BaselineCell, dataset: "Dataset") -> str:
        """Do the same with a baseline."""
        result = baselines.run(cell, dataset)
        self._write(dataset, result)
        fits = f"{result.num_fits} fit{'' if result.num_fits == 1 else 's'}"
        said = f"; scikit-learn warns: {'; '.join(result.warnings)}" if result.warnings else ""
        accuracy = result.summary["test/accuracy"].mean()
        return f"test accuracy {accuracy:.2%}, {fits}, {result.fit_seconds:.1f} s{said}" + self._hand_over()

    def _write(self, dataset: "Dataset", result: CellResult | BaselineResult) -> None:
        written = record.write(
            self.folder,
            self.identity,
            self.job.config,
            self.job.choices,
            dataset,
            result,
            started=self.started,
            side_by_side=asdict(self.at_once),
        )
        self.is_written = True
        (self.folder / BEGUN).unlink(missing_ok=True)
        if self.claim is not None:
            with suppress(OSError):  # at worst, another command trains it as well
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
        self._hand_over()

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
        # A worker that has no run leaves it at that: the record waits, and to import MLflow takes longer than to stop.
        if self.live is not None or (self.publishes and self.job.tracked and is_local(self.job)):
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

    def _hand_over(self) -> str:
        """Publish a record that is whole, unless that is left to the process which has forked this one."""
        return self._publish() if self.publishes else ""

    def _publish(self) -> str:
        """Bring MLflow up to the record; return what to say if that must wait, the reason but once."""
        if not self.job.tracked:
            return ""
        from nnbench.tracking import publish, store

        try:
            publish.publish_in_time(self.folder / record.FOLDER, self.job.tracking_uri, self.job.experiment)
        except Exception as error:  # the record is on the disk; the end of the sweep or `sync` publishes it
            reason = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            if reason in TOLD:
                return "; not in MLflow yet"
            TOLD.add(reason)
            return f"; not in MLflow yet ({store.without_credentials(reason)}), python -m nnbench sync publishes it"
        return ""


def _history(cell: Cell, dataset: "Dataset", stacks: Sequence[Training]) -> "pd.DataFrame | None":
    """Return the curves that will be those of the result, as far as all final replicas have come; None before."""
    if sum(len(stack.diverged) for stack in stacks) < len(cell.seeds):
        return None
    num_epochs = min((stack.epoch for stack in stacks if not stack.finished), default=max(s.epoch for s in stacks))
    history = contents.history_table(cell.seeds, histories(stacks, num_epochs))
    return contents.score_divergence(history, 1 / dataset.num_classes)


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
