"""The command line: a first argument that names a command goes to click, everything else is Hydra's."""

import gc
import os
import secrets
import sys
from datetime import datetime
from pathlib import Path

from nnbench.places import COMMANDS
from nnbench.sweep.supervision import signals_as_exceptions, stopped_by, supervise


def main() -> int:
    """Run the command line of this process, training in a child; return the exit status."""
    _open_streams()
    try:
        Path.cwd()
    except OSError:
        sys.stderr.write("error: the current folder is no longer there; change to another one\n")
        return 2
    try:
        if sys.argv[1:2] and sys.argv[1] in COMMANDS:
            return in_this_process()
        sweep = new_sweep()  # one for the command, however many children it takes
        return _flushed(supervise(lambda: in_this_process(sweep, forks=True)))
    finally:
        gc.freeze()  # or Python looks through all of MLflow for garbage before it ends, for a second


def _flushed(status: int) -> int:
    """Return an exit status once all words have been written, or nobody wants them."""
    try:
        sys.stderr.flush()
    except OSError:  # nobody reads it any more, which Python's own end would make a failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return status


def in_this_process(sweep: str | None = None, *, forks: bool = False) -> int:
    """Run the command line in this very process; return the exit status.

    `sweep` is the id of its sweep, whose cells are trained in processes of their own if this one `forks`.
    """
    try:
        return _command_line(sweep, forks=forks)
    except OSError:
        if not (reason := _why_nothing_is_printed()):
            raise
        sys.stderr.write(f"error: standard output cannot be written: {reason}; what is done is safe\n")
        return 1


def _command_line(sweep: str | None, *, forks: bool) -> int:
    """Do the same, whether or not the results can be printed."""
    for word in [] if sys.argv[1:2] == ["predict"] else sys.argv:  # whose file may have any name
        if any("\ud800" <= character <= "\udfff" for character in word):
            shown = word.encode("ascii", "backslashreplace").decode()
            sys.stderr.write(f"error: {shown} has bytes that are no text in UTF-8; write it as such\n")
            return 2
    # The console script, unlike `python -m`, does not find the user's own modules in the current folder.
    if str(os.getcwd()) not in sys.path and "" not in sys.path:  # noqa: PTH109 - the text that Python itself would add
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        from nnbench.commands import commands

        return commands.main(standalone_mode=True)
    from nnbench.tracking.credentials import hide_in_arguments

    sys.argv[1:] = hide_in_arguments(sys.argv[1:])  # Hydra writes them into every sweep's folder
    with signals_as_exceptions():
        try:
            from nnbench.app import run

            return run(sweep or new_sweep(), forks=forks and hasattr(os, "fork"))
        except BaseException:
            if (stop := stopped_by()) is None:
                raise
            sys.stderr.write("stopped\n")  # before the sweep began, or for the second time
            return 128 + stop


def _why_nothing_is_printed() -> str:
    """Return what keeps standard output from being written, such as a full disk; then nothing more goes there."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try once more at its end
        return error.strerror or str(error)
    return ""


def _open_streams() -> None:
    """Open those of the three standard streams that are closed to nothing, or the next file would take their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


def new_sweep() -> str:
    """Return an id for a sweep, unique even for sweeps that start in the same second."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"


if __name__ == "__main__":
    sys.exit(main())
