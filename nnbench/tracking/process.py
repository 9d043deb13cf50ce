"""Which process writes a run, so that others can tell whether it still does."""

import os
import socket
from pathlib import Path


def mark() -> str:
    """Return what names this process among all of all machines and times: host, number, time of its start."""
    return f"{socket.gethostname()} {os.getpid()} {_start_time(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Whether the process of a mark surely runs no more; of another machine nothing is sure."""
    host, _, process = mark.rpartition(" ")[0].rpartition(" ")
    if host != socket.gethostname() or not process.isdecimal():
        return False
    return _start_time(int(process)) != mark.rpartition(" ")[2]


def _start_time(process: int) -> str:
    """Return when a process started, in ticks since the machine did; "-" where there is none, or no way to know."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return status.rpartition(")")[2].split()[19]  # the 22nd field; the second, a name, may hold anything
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return "-"
    except OSError:
        pass
    return "unknown"
