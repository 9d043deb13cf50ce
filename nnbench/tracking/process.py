"""Which process writes a run, so that others can tell whether it still does."""

import os
import socket
from pathlib import Path

ENDED = "ZX"  # states of a process that has ended, though its parent has not asked how


def mark() -> str:
    """Return what names this process among all of all machines and times: host, number, time of its start."""
    return f"{socket.gethostname()} {os.getpid()} {_start_time(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Whether the process of a mark surely runs no more; of another machine nothing is sure."""
    return is_of_this_machine(mark) and _start_time(int(mark.split(" ")[-2])) != mark.rpartition(" ")[2]


def is_of_this_machine(mark: str) -> bool:
    """Whether a mark is that of a process of this machine, running or not."""
    host, _, process = mark.rpartition(" ")[0].rpartition(" ")
    return host == socket.gethostname() and process.isdecimal()


def _start_time(process: int) -> str:
    """Return when a process started, in ticks since the machine did; "-" where there is none, or no way to know."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        fields = status.rpartition(")")[2].split()  # from the third on; the second, a name, may hold anything
        return "-" if fields[0] in ENDED else fields[19]
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return "-"
    except OSError:
        pass
    return "unknown"
