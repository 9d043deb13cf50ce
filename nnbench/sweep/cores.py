"""How many cores this process may use: those of the machine, or fewer where a container or a limit says so."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path

from nnbench.sweep.memory import GROUPS, PROCESS, group_files


def available() -> int:
    """Return the number of cores, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(ceil(share) for share in group_shares(PROCESS / "cgroup", GROUPS))]))


def group_shares(membership: Path, mounted: Path) -> Iterator[float]:
    """Yield the limits of the control groups of a process in cores, as `nnbench.sweep.memory.group_limits` in bytes."""
    for text in group_files(membership, mounted, "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us"), ("cpu.max",)):
        with suppress(ValueError):  # max: no limit
            quota, period = map(float, text.split())
            if quota > 0 and period > 0:  # -1: no limit
                yield quota / period
