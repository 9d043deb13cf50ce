"""Processes that watch each other, so that a kill costs one cell and nobody works on unseen.

The process that the user started only waits (`supervise`). A child trains; if it is killed, as a system does that has
run out of memory, another child goes on where it was. A child whose parent is gone stops, and so do the workers of a
launcher (`worker_of`). Ctrl-C and SIGTERM become exceptions (`signals_as_exceptions`), at once and once.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from types import FrameType
from typing import NoReturn

from nnbench.tracking import process

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_PRESS = 0.5  # seconds in which a signal that comes twice is one: from the terminal and from the parent
GRACE = 8.0  # seconds that a process has to put things in order once it was told to stop
AGAIN = 0.05  # seconds after which a signal is raised again whose exception Python has dropped
ASK_EVERY = 0.5  # seconds between looks at the parent

_to_parent: int | None = None  # the pipe on which a child tells what it does
_told: set[bytes] = set()
_stopped_by: int | None = None
WORK, END = b"w", b"e"


def supervise(work: Callable[[], int]) -> int:
    """Run `work` in a child and return its exit status; where the child is killed at its work, in another child.

    It returns in each child, too, whose process is to end with that status. Of a child that was killed before it began
    its work the status is 128 + signal, as a shell says it.
    """
    if not hasattr(os, "fork"):
        return work()
    while True:
        told, telling = os.pipe()
        alive, holding = os.pipe()  # the child reads the end of it when this process is gone
        child = os.fork()
        if child == 0:
            os.close(told)
            os.close(holding)
            return _as_child(work, telling, alive)
        os.close(telling)
        os.close(alive)
        stop, status = _wait(child)
        os.set_blocking(told, False)  # a process that the child left behind may keep the other end open
        try:
            words = os.read(told, 64)  # more than there can be
        except BlockingIOError:
            words = b""
        os.close(told)
        os.close(holding)
        if END in words:
            return status if status >= 0 else 128 - status
        if stop is not None:  # it had no time left to put things in order
            _say("stopped")
            return 128 + stop
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"left with status {status}"
        if WORK not in words:
            _say(f"error: the process that was to train {how} before it began")
            return 128 - status if status < 0 else status or 1
        _say(f"the process that trained {how}; another one goes on")


def _say(text: str) -> None:
    """Write a line for people, if they still listen."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")


def _wait(child: int) -> tuple[int | None, int]:
    """Wait for a child and pass on what stops a command; return the first such signal, if any, and the exit status.

    After SIGTERM it has GRACE seconds, after a second signal of any kind one.
    """
    first: list[tuple[int, float]] = []

    def kill(*_: object) -> None:
        os.kill(child, signal.SIGKILL)  # nobody has waited for it, so the number is still its own

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        now = time.monotonic()
        if not first:
            first.append((number, now))
            signal.setitimer(signal.ITIMER_REAL, 0 if number == signal.SIGINT else GRACE)
        elif now - first[0][1] > ONE_PRESS:
            signal.setitimer(signal.ITIMER_REAL, 1.0)
        else:
            return
        os.kill(child, number)

    with _handlers(stop):
        before = signal.signal(signal.SIGALRM, kill)
        try:
            _, ended = os.waitpid(child, 0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    return (first[0][0] if first else None), os.waitstatus_to_exitcode(ended)


def _as_child(work: Callable[[], int], telling: int, alive: int) -> int:
    """Do the work as a child; return the exit status, with which the process is to end."""
    global _to_parent
    _to_parent = telling

    def stop_without_parent() -> None:
        os.read(alive, 1)  # until the other end is closed
        _stop_this_process()

    threading.Thread(target=stop_without_parent, daemon=True).start()
    try:
        return work()
    finally:
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)  # all is done
        tell(END)


def tell(word: bytes) -> None:
    """Tell the parent, if this process has one that listens, that its work has begun or that it ends in order."""
    if _to_parent is not None and word not in _told:
        _told.add(word)
        with suppress(OSError):
            os.write(_to_parent, word)


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, and SIGTERM and SIGHUP raise SystemExit(128 + signal), each press once.

    So what is open is closed on the way out. Code on the way may turn the exception into another one: ask `stopped_by`.
    Python drops an exception that is raised while it clears objects away, as MLflow has many: that one is raised again.
    A thread other than the main one leaves the signals as they are.
    """
    global _stopped_by
    _stopped_by, last = None, -inf
    raised: BaseException | None = None
    again: threading.Timer | None = None
    before_us = sys.unraisablehook

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        global _stopped_by
        nonlocal last, raised
        before, last = last, time.monotonic()
        if last - before > ONE_PRESS:
            _stopped_by = _stopped_by or number
            raised = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
            raise raised

    def dropped(what: "sys.UnraisableHookArgs") -> None:
        nonlocal last, again
        if raised is None or what.exc_value is not raised:
            before_us(what)
            return
        last = -inf
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), _stopped_by))
        again.daemon = True
        again.start()

    sys.unraisablehook = dropped
    try:
        with _handlers(stop):
            yield
    finally:
        sys.unraisablehook = before_us
        if again is not None:
            again.cancel()


def stopped_by() -> signal.Signals | None:
    """Return the first signal that told this process to stop, if one has."""
    return None if _stopped_by is None else signal.Signals(_stopped_by)


@contextmanager
def _handlers(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let `stop` handle what stops a command, unless whoever started it wants that signal to be ignored."""
    is_main = threading.current_thread() is threading.main_thread()
    heeded = [number for number in STOPS if is_main and signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def name_of_this_process() -> str:
    """Return what `worker_of` is to be told of the process that runs a sweep."""
    return f"{_namespace()} {process.mark()}"


@contextmanager
def worker_of(parent: str) -> Iterator[None]:
    """Let a worker of a launcher end with the process of that name, and be told to stop as that is.

    Nothing is done in that process itself, nor where nobody can tell whether it still runs: on another machine, as with
    a cluster, or in another container.
    """
    namespace, _, mark = parent.partition(" ")
    if namespace != _namespace() or mark == process.mark() or not process.is_of_this_machine(mark):
        yield
        return

    def stop_without_parent() -> None:
        while not process.is_gone(mark):
            time.sleep(ASK_EVERY)
        _stop_this_process()

    if process.is_gone(mark):  # before this job came out of its queue
        os._exit(128 + signal.SIGTERM)
    name = "the parent's end"
    if not any(thread.name == name for thread in threading.enumerate()):
        threading.Thread(target=stop_without_parent, name=name, daemon=True).start()
    try:
        with signals_as_exceptions():
            yield
    finally:
        if stopped_by() is not None or process.is_gone(mark):  # or it would take the next job
            os._exit(128 + (stopped_by() or signal.SIGTERM))


def _namespace() -> str:
    """Return which processes this one sees, where the system knows such a thing."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "-"


def _stop_this_process() -> NoReturn:
    """Ask this process to stop, and end it if it does not."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)
