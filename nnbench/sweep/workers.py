"""Cells on all cores: each is trained in a process forked from that of the sweep, while another publishes what is done.

A worker begins at once, as its parent has read the data and all code, and shares both with it; it ends with its cell,
so that a worker that is killed costs its cell alone. What came of a cell is in its record folder; on the way, a worker
tells its parent in lines of JSON how far it is. No training waits for MLflow: one more process beside the workers makes
the store ready and publishes what is done; for what then is left see `nnbench.sweep.outbox`.
"""

import gc
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from nnbench.grid import Grid
from nnbench.protocol import baselines
from nnbench.protocol.baselines import BaselineCell
from nnbench.settings import parse
from nnbench.sweep import job, preparation
from nnbench.sweep.attempt import TOLD, NoRoomError, is_local
from nnbench.sweep.plan import AtOnce
from nnbench.sweep.supervision import GRACE, STOPS, WORK, name_of_this_process, stopped_by, tell, worker_of
from nnbench.terminal import SweepProgress
from nnbench.tracking import contents, record, store
from nnbench.tracking.environment import environment
from nnbench.tracking.trouble import REST, StoreError

Send: TypeAlias = Callable[..., None]  # tells the parent something, in keyword arguments that JSON can hold
LOOK_EVERY = 0.2  # seconds between looks at the clock while nothing is heard
A_MOMENT = 5.0  # seconds of waiting without a word
AT_THE_END = 60.0  # seconds that are waited for a record to be published, once all cells are trained
SIZE = 2**16  # bytes read at once
NO_ROOM = 75  # exit status of a worker that has found the disk full; EX_TEMPFAIL of sysexits.h


class WorkersError(Exception):
    """A worker came upon something that is no failure of its cell."""


class Worker:
    """A forked process that does one thing, and the end of the pipe on which it tells of it."""

    def __init__(self, work: Callable[[Send], None]):
        self.pipe, telling = os.pipe()
        self.unread = b""
        _flush()
        parent = name_of_this_process()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until each process knows which of the two it is
        try:
            self.process = os.fork()
            if self.process == 0:
                _work(work, telling, parent, held)
        except OSError:
            os.close(self.pipe)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            os.close(telling)

    def hear(self) -> list[dict[str, Any]]:
        """Return what has been told since, waiting for it; nothing more once the process has ended."""
        new = os.read(self.pipe, SIZE)
        *lines, self.unread = (self.unread + new).split(b"\n")
        return [json.loads(line) for line in lines] if new else [{"ended": self._status()}]

    def stop(self, number: int) -> None:
        """Ask the process to stop."""
        os.kill(self.process, number)  # nobody has waited for it, so the number is still its own

    def _status(self) -> int:
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


class Publisher(Worker):
    """A worker that makes the store ready, unless it is, and then publishes the record folders that it is given."""

    def __init__(self, plan: Grid, *, opens: bool):
        listening, self.asking = os.pipe()
        self.folder: Path | None = None  # that it has in hand
        try:
            super().__init__(partial(_publish, plan, opens, listening))
        except OSError:
            os.close(self.asking)
            raise
        finally:
            os.close(listening)

    def publish(self, folder: Path) -> None:
        """Give it a record folder; one at a time."""
        self.folder = folder
        with suppress(BrokenPipeError):  # it has just ended
            os.write(self.asking, json.dumps(str(folder)).encode() + b"\n")

    def _status(self) -> int:
        os.close(self.asking)
        return super()._status()


def _work(work: Callable[[Send], None], telling: int, parent: str, held: set[int | signal.Signals]) -> NoReturn:
    """Do the work of a forked process, which ends here: nothing that its parent has begun is its to end."""

    def send(**message: Any) -> None:
        line = json.dumps(message).encode() + b"\n"
        with suppress(BrokenPipeError):  # the parent is gone, which ends this process, but is no failure of its cell
            while line:
                line = line[os.write(telling, line) :]

    status = 1
    try:
        gc.freeze()  # nothing of the parent's is looked through for garbage, which would copy its pages
        store.keep_connections()
        with worker_of(parent):
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            work(send)
        status = 0
    except NoRoomError as error:
        send(error=str(error))
        status = NO_ROOM
    except BaseException as error:
        if stopped_by() is None:
            traceback.print_exc()
            send(error=f"{type(error).__name__}: {error}".partition("\n")[0])
    finally:
        try:
            _flush()
        finally:
            os._exit(status)


def _flush() -> None:
    """Write what waits for the streams, or a forked process would write it once more; who is gone misses it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()


def train(plan: Grid, at_once: AtOnce) -> None:
    """Train the cells of a sweep, `at_once.cells` of them side by side, open the store and publish what is done.

    Left are, as `nnbench.sweep.job.left` tells, those that another command has in hand and those that were killed again
    and again in the company of others. Raises `NoRoomError` if the disk is full, `WorkersError` for a defect, and
    StoreError for a store that cannot be used.
    """
    shown = plan.jobs[0].config["progress"]
    with store.keeping_no_connection(), SweepProgress([each.label for each in plan.jobs], shown=shown) as progress:
        _Sweep(plan, progress, at_once).train()


class _Sweep:
    """The workers of a sweep, and what they are to do."""

    def __init__(self, plan: Grid, progress: SweepProgress, at_once: AtOnce):
        self.plan = plan
        self.is_open = not plan.jobs[0].tracked  # the store, or there is none
        self.progress = progress
        self.at_once = at_once
        self.waiting = deque(range(len(plan.jobs)))
        self.cells: dict[Worker, int] = {}
        self.publisher: Publisher | None = None
        self.records: deque[Path] = deque()  # to be published
        self.kills: Counter[int] = Counter()  # by cell
        self.rests_until = 0.0
        self.has_read_baselines = False
        self.has_failed_to_open = False
        self.has_said_that_it_waits = False
        self.last_progress = time.monotonic()
        self.error: Exception | NoRoomError | None = None

    def train(self) -> None:
        """Train all that is waiting."""
        try:
            self._work()
            if self.publisher is not None:
                self._stop([self.publisher], signal.SIGTERM)
        except BaseException:
            self._stop(self._workers(), stopped_by() or signal.SIGTERM)
            raise
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        """Keep the workers busy, and the publisher, until all is done or the store takes no more."""
        tell(WORK)  # here, so that no worker does
        has_read_ahead = False
        while self.cells or (self.waiting and self.error is None) or self._can_publish():
            while self.waiting and len(self.cells) < self.at_once.cells and self.error is None:
                number = self.waiting.popleft()
                if job.task(self.plan, number).settled(send=self.progress.tell):
                    self.progress.pass_over()
                    continue
                if self.plan.jobs[number].is_baseline and not self.has_read_baselines:
                    _read_baselines(self.plan)
                    self.has_read_baselines = True
                try:
                    worker = Worker(partial(_train_cell, self.plan, number, self.at_once))
                except OSError as error:  # no more processes, or memory for one
                    self.waiting.appendleft(number)
                    if not self.cells:
                        self.error = WorkersError(f"no process can be made: {error.strerror}; try workers=1")
                    break
                self.cells[worker] = number
                self.progress.begin(number, self.plan.jobs[number].config["num_epochs"])
            if not has_read_ahead:  # while the first workers train
                _read_ahead(self.plan)
                has_read_ahead = True
            if self.publisher is None and self._can_publish():
                try:
                    self.publisher = Publisher(self.plan, opens=not self.is_open)
                except OSError:  # no more processes, or memory for one
                    self.rests_until = time.monotonic() + REST
            if self.publisher is not None and self.publisher.folder is None and self.is_open and self.records:
                self.publisher.publish(self.records[0])
            ready = wait([worker.pipe for worker in self._workers()], LOOK_EVERY)
            for worker in [worker for worker in self._workers() if worker.pipe in ready]:
                for message in worker.hear():
                    self._heard(worker, message)
            self.progress.show()
            if self.cells:
                self.last_progress = time.monotonic()
            elif time.monotonic() - self.last_progress > AT_THE_END:
                break
            elif time.monotonic() - self.last_progress > A_MOMENT and not self.has_said_that_it_waits:
                self.progress.say("all cells are trained; waiting for the store")
                self.has_said_that_it_waits = True

    def _can_publish(self) -> bool:
        return (bool(self.records) or not self.is_open) and time.monotonic() > self.rests_until

    def _workers(self) -> list[Worker]:
        return [*self.cells, *([self.publisher] if self.publisher else [])]

    def _heard(self, worker: Worker, message: dict[str, Any]) -> None:
        number = self.cells.get(worker)
        match message:
            case {"line": _} | {"epoch": _}:
                self.progress.tell(number, **message)
            case {"published": folder}:
                self._no_longer_in_hand(Path(folder))
                self.last_progress = time.monotonic()
            case {"opened": _}:
                self.is_open = True
                self.last_progress = time.monotonic()
            case {"cannot_open": reason}:
                raise StoreError(reason, "refusal")
            case {"say": text}:
                self.progress.say(text)
            case {"trouble": reason, "outage": is_outage, "folder": folder}:
                if reason not in TOLD:
                    TOLD.add(reason)
                    self.progress.line(f"warning: {reason}; training goes on, python -m nnbench sync publishes it")
                if is_outage:
                    self.rests_until = time.monotonic() + REST
                else:
                    self._no_longer_in_hand(Path(folder))  # asked once more at the end of the sweep
            case {"error": text} if worker is not self.publisher:  # MLflow costs no training
                self.error = self.error or WorkersError(text)
            case {"ended": status}:
                if self.publisher is not None and worker is self.publisher:
                    if status != 0 and not self.is_open:  # killed, say; when it is again, the end comes back to it
                        self.is_open, self.has_failed_to_open = self.has_failed_to_open, True
                    elif status != 0 and self.publisher.folder is not None:  # that is asked for again at the end, too
                        self._no_longer_in_hand(self.publisher.folder)
                    self.publisher = None
                else:
                    self._cell_ended(self.cells.pop(worker), status)

    def _no_longer_in_hand(self, folder: Path) -> None:
        self.records.remove(folder)
        if self.publisher is not None:
            self.publisher.folder = None

    def _cell_ended(self, number: int, status: int) -> None:
        folder = self.plan.folder_of(number)
        is_done = job.has_outcome(folder)
        self.progress.end(number, done=is_done)
        if status == NO_ROOM and self.error is not None:
            self.error = NoRoomError(str(self.error))
        if status != 0 and not is_done and self.error is None:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"left with status {status}"
            self.kills[number] += 1
            again = self.kills[number] < job.MOST_KILLS
            preparation.close_abandoned(self.plan)
            self.progress.line(
                f"{self.plan.jobs[number].label}: the process that trained it {how}; it is trained again"
                f"{'' if again else ' when the others are done'}"
            )
            if again:
                self.waiting.append(number)
        if is_done and self.plan.jobs[number].tracked and not (folder / record.PUBLISHED).exists():
            self.records.append(folder / record.FOLDER)

    def _stop(self, workers: Sequence[Worker], number: int) -> None:
        """Tell workers to stop, and end those that do not heed it in time."""
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.stop(number)
        ends = time.monotonic() + GRACE / 2
        for worker in workers:
            with suppress(ChildProcessError):  # it had just ended
                while os.waitpid(worker.process, os.WNOHANG) == (0, 0):
                    if time.monotonic() > ends:
                        worker.stop(signal.SIGKILL)
                    time.sleep(0.02)


def _train_cell(plan: Grid, number: int, at_once: AtOnce, send: Send) -> None:
    job.task(plan, number).run(plan.activation_choices, alone=at_once.cells == 1, at_once=at_once, send=send)


def _read_ahead(plan: Grid) -> None:
    """Import what records and store are written with, once for all processes that are forked from now on."""
    with suppress(Exception):  # whatever it is, each worker will meet it in its own cell
        contents.read_ahead()
        environment()
        if plan.jobs[0].tracked:
            store.read_ahead(store.resolve(plan.jobs[0].tracking_uri))


def _read_baselines(plan: Grid) -> None:
    """Import what baselines are fitted with, once for all."""
    for each in plan.jobs:
        with suppress(Exception):  # as above
            if each.is_baseline and isinstance(cell := parse(each.config, each.choices, {}), BaselineCell):
                baselines.read_ahead(cell)


def _publish(plan: Grid, opens: bool, listening: int, send: Send) -> None:
    """Open the store, unless it is, and publish record folders as they come, until the store is in trouble."""
    from nnbench.tracking import publish

    first = plan.jobs[0]

    if opens:
        try:
            preparation.open_store(plan, tell=lambda text: send(say=text))
        except Exception as error:
            if not (isinstance(error, StoreError) and error.kind == "outage") and is_local(first):
                send(cannot_open=store.without_credentials(preparation.why_not(error)))
            else:
                send(trouble=store.without_credentials(str(error)), outage=True, folder="")
            return
        send(opened=True)
    with os.fdopen(listening, encoding="ascii") as asked:
        for line in asked:
            folder = Path(json.loads(line))
            try:
                publish.publish_in_time(folder, first.tracking_uri, first.experiment)
                send(published=str(folder))
            except Exception as error:
                reason = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
                is_outage = isinstance(error, StoreError) and error.kind == "outage"
                send(trouble=store.without_credentials(reason), outage=is_outage, folder=str(folder))
                if is_outage:
                    return
