"""A store in trouble: each error of MLflow's becomes a line for people, and nobody waits for a store for long.

Every call of MLflow goes through `OneLine`. Whoever may not be held up, such as a training, asks inside of `bounded`:
after a time the calls that are left are given up, and a store in trouble is not asked again for a minute.
"""

import errno
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache, partial
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any, Literal

from nnbench.tracking.credentials import without_credentials

SQLITE = "sqlite:///"
REST = 60.0  # seconds in which a store that was in trouble is not asked again
LONGEST_CALL = 300.0  # seconds of one call of a server where there is no deadline; a record may be large
LONGEST = 300  # characters of what a store says
MOVE_AWAY = "or move it away, and the next training makes a new one"
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
TOO_MANY = re.compile(r"too many (\d+) error responses")  # urllib3's words for one
BODY = re.compile(r"Response body: '(.*)'$")  # MLflow's words before it have nothing for people
ON_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}

_deadline: ContextVar[float | None] = ContextVar("_deadline", default=None)  # of perf_counter
_resting: dict[str, tuple[float, str]] = {}  # by resolved URI: until when, and why


class StoreError(Exception):
    """What is wrong with a store: a line that names it, says what it says, and the way out; no credentials.

    An outage may pass by itself, a refusal does not; anything else concerns one call alone.
    """

    def __init__(self, text: str, kind: Literal["outage", "refusal", "other"] = "other"):
        super().__init__(without_credentials(" ".join(text.split())))
        self.kind = kind


class OneLine:
    """An object of MLflow's, all of whose errors are `StoreError`."""

    def __init__(self, uri: str, target: Any):
        self._uri = uri
        self._target = target
        self._file = _identity(uri)
        _hold(uri, self._file)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            deadline = _deadline.get()
            if deadline is not None and perf_counter() > deadline:
                raise _slow(self._uri)
            if _identity(self._uri) != self._file:  # or MLflow would go on with the file that has lost its name
                raise StoreError(f"{place(self._uri)} has been removed or replaced since this command began", "refusal")
            asked = partial(found, *arguments, **options)
            if not self._uri.startswith(SQLITE):
                return _in_time(self._uri, asked, deadline)
            with in_one_line(self._uri):
                return asked()

        return call


@cache
def _hold(uri: str, file: tuple[int, int] | None) -> None:
    """Keep a file open, so that no other one gets its number once it is gone; closing it would end SQLite's locks."""
    if file is not None:
        os.open(place(uri), os.O_RDONLY | os.O_CLOEXEC)


def _in_time(uri: str, ask: Callable[[], Any], deadline: float | None) -> Any:
    """Return what a server answers; StoreError at the deadline, or without one after LONGEST_CALL.

    The time-out of HTTP is that of a single read, so a server that sends a byte now and then is within it for ever. The
    thread that reads cannot be ended: it is left behind, and ends with the process or with the answer.
    """
    answer: Future[Any] = Future()

    def wait() -> None:
        try:
            with in_one_line(uri):
                answer.set_result(ask())
        except BaseException as error:  # whoever asked gets it
            answer.set_exception(error)

    Thread(target=copy_context().run, args=(wait,), daemon=True).start()
    try:
        return answer.result(LONGEST_CALL if deadline is None else deadline - perf_counter())
    except TimeoutError:  # of the waiting: those of the call are StoreErrors
        raise _slow(uri, None if deadline else LONGEST_CALL) from None


def _slow(uri: str, seconds: float | None = None) -> StoreError:
    """Return the error of a server that has not answered in so many seconds, by default those of a deadline."""
    if seconds is None:
        return StoreError(f"{uri} is slow; what is left is sent later", "outage")
    return StoreError(f"{uri} is slow: an answer has not come to its end in {seconds:g} s", "outage")


@contextmanager
def in_one_line(uri: str) -> Iterator[None]:
    """Turn whatever is raised by MLflow and what lies below it into a `StoreError`."""
    before = sys.exception()  # a failed training, say, which has nothing to do with the store
    try:
        yield
    except StoreError:
        raise
    except Exception as error:  # of MLflow, its database, a server, a cloud: each raises its own kinds
        raise _explained(uri, _chain(error, before)) from None  # MLflow's own words may have credentials in them


@contextmanager
def bounded(uri: str, seconds: float | None = None) -> Iterator[None]:
    """Ask the store at a resolved URI for no longer than so many seconds, and not at all for a minute after an outage.

    A call of a server is given up then, and earlier where nothing comes for MLFLOW_HTTP_REQUEST_TIMEOUT; a call of a
    database that has begun takes as long as MLflow waits for a lock, 20 s.
    """
    until, why = _resting.get(uri, (0.0, ""))
    if perf_counter() < until:
        raise StoreError(why, "outage")
    token = _deadline.set(None if seconds is None else perf_counter() + seconds)
    try:
        yield
    except StoreError as error:
        if error.kind == "outage":
            _resting[uri] = (perf_counter() + REST, str(error))
        raise
    finally:
        _deadline.reset(token)


def wake(uri: str) -> None:
    """Let the store at a resolved URI be asked again at once, in the middle of its rest."""
    _resting.pop(uri, None)


def place(uri: str) -> str:
    """Return what a store is called: the file of a local one, else its address."""
    return uri.removeprefix(SQLITE)


def _explained(uri: str, chain: Sequence[BaseException]) -> StoreError:
    """Return what an error means that came up while the store at a resolved URI was asked, its first cause last."""
    error, first = chain[0], chain[-1]
    for cause in chain:
        if type(cause) in (sqlite3.OperationalError, sqlite3.DatabaseError):
            return of_database(Path(place(uri)), str(cause))
    if any(type(cause).__module__.startswith("urllib3") or _is_of_network(cause) for cause in chain):
        reason = str(getattr(first, "strerror", None) or first)[:LONGEST]
        if isinstance(first, TimeoutError):
            reason = f"nothing in {os.environ.get(TIMEOUT)} s, see {TIMEOUT}"
        reason = TOO_MANY.sub(r"it says \1", reason)
        return StoreError(f"{uri} does not answer ({reason}); see whether it runs, and tracking.uri", "outage")
    if isinstance(first, OSError) and first.errno in ON_DISK:
        return StoreError(f"{first.filename or place(uri)} cannot be written: {first.strerror}", "outage")
    return _of_answer(uri, error)


def _is_of_network(error: BaseException) -> bool:
    """Whether the driver of a database on a server raised it."""
    return type(error).__module__.startswith("sqlalchemy") and type(error).__name__ == "OperationalError"


def of_database(path: Path, reason: str) -> StoreError:
    """Return what SQLite's reason means for a store in a file."""
    if path.is_dir():
        return StoreError(f"{path} is a folder, and the store is a file; give another one", "refusal")
    if "locked" in reason or "busy" in reason:
        return StoreError(
            f"{path} is locked: another program is writing to it, or has changes that are not saved, as a browser of "
            "databases may have; end it",
            "outage",
        )
    if "full" in reason or "disk I/O" in reason:
        return StoreError(f"{path} cannot be written ({reason}); see how much room its disk has", "outage")
    if "readonly" in reason or "unable to open" in reason:
        return StoreError(f"{path} cannot be used ({reason}); see who may read and write it and its folder", "refusal")
    return StoreError(f"{path} is no store that can be used ({reason}); put back a copy of it, {MOVE_AWAY}", "refusal")


def deleted(experiment: str, number: str | int) -> str:
    """Return what is to be done with an experiment that has been deleted."""
    return (
        f"the experiment {experiment} is deleted; restore it with mlflow experiments restore -x {number}, or give "
        "another name with tracking.experiment=NAME"
    )


def _of_answer(uri: str, error: BaseException) -> StoreError:
    """Return what the answer of a server means, or an error that is neither of a network nor of a database."""
    text = " ".join(str(error).split()) or type(error).__name__
    said = (body[1] if (body := BODY.search(text)) else text)[:LONGEST]
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None and hasattr(error, "get_http_status_code"):
        status = error.get_http_status_code()
    if status in (401, 403):
        if "Host" in said:
            way_out = "it must be started with --allowed-hosts that admit this address"
        else:
            way_out = "see MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return StoreError(f"{uri} refuses ({status}: {said}); {way_out}", "refusal")
    if getattr(error, "error_code", "") == "ENDPOINT_NOT_FOUND" or "not in a valid JSON" in text:
        return StoreError(f"{uri} is no server of MLflow's (it says {said}); see tracking.uri", "refusal")
    if versions := re.search(r"found version (\w+), but expected (\w+)", text):
        return of_another_version(uri, f"its schema is {versions[1]}, and this one wants {versions[2]}")
    return StoreError(f"{place(uri)}: {said}")


def of_another_version(uri: str, reason: str) -> StoreError:
    """Return what is to be done with a store that another version of MLflow has made."""
    return StoreError(
        f"{place(uri)} is of another version of MLflow ({reason}); install that one, or make a copy of the file and "
        f"run mlflow db upgrade {uri}, {MOVE_AWAY}",
        "refusal",
    )


def _chain(error: BaseException, before: BaseException | None) -> list[BaseException]:
    """Return an error and what it came from, the first cause last, without what was there `before`."""
    chain = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        if cause is before or cause in chain:
            break
        chain.append(cause)
    return chain


def _identity(uri: str) -> tuple[int, int] | None:
    """Return what tells the file of a local store from another one of its name; None of a server, or without a file."""
    if not uri.startswith(SQLITE):
        return None
    try:
        found = os.stat(place(uri))  # noqa: PTH116 - called before each call of MLflow's
    except OSError:
        return None
    return found.st_dev, found.st_ino
