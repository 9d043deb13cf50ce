"""How much memory this process may use: that of the machine, or less where a container or a limit says so."""

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

PROCESS = Path("/proc/self")
GROUPS = Path("/sys/fs/cgroup")


def available() -> int:
    """Return the bytes that this process may use at most, as far as the system tells."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *group_limits(PROCESS / "cgroup", GROUPS)]
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY:
        limits.append(max(addresses - _addresses_in_use(), 0))
    return min(limits)


def group_limits(membership: Path, mounted: Path) -> Iterator[int]:
    """Yield the limits of the control groups of a process, which a container has, in bytes."""
    for text in group_files(membership, mounted, "memory", ("memory.limit_in_bytes",), ("memory.max",)):
        with suppress(ValueError):  # max: no limit
            yield int(text)


def group_files(
    membership: Path, mounted: Path, controller: str, names_1: Sequence[str], names_2: Sequence[str]
) -> Iterator[str]:
    """Yield what the control groups of a process say, in either version of Linux's files, of each group on one line.

    `membership` has a line for each, number:controllers:path; no controllers is version 2. Inside a container the path
    may be that of its host, and the files lie at the top.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top, names = (mounted / controller, names_1) if controllers else (mounted, names_2)
        own = top / path.strip("/")
        for folder in (own, *own.parents):
            with suppress(OSError):  # it has no such file
                yield " ".join((folder / name).read_text(encoding="utf-8").strip() for name in names)
            if folder == top:
                break


def _addresses_in_use() -> int:
    """Return the size of this process's address space, which the limit on addresses counts; 0 where it is not told."""
    try:
        pages = int((PROCESS / "statm").read_text(encoding="utf-8").split()[0])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
