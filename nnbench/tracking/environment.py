"""Where a result came from: versions, processor, BLAS, threads, commit."""

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nnbench.nn.subnormals import can_be_flushed

PACKAGES = ("nnbench", "numpy", "scipy", "scikit-learn", "pandas", "hydra-core", "mlflow")


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Return what may matter to someone who gets other figures."""
    from threadpoolctl import threadpool_info

    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "blas": [{key: library.get(key) for key in ("internal_api", "version", "architecture")} for library in blas],
        "blas_threads": 1,  # set for every training, see nnbench.sweep.attempt
        "subnormals_flushed": can_be_flushed(),
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git_commit() -> str | None:
    """Return the commit of the current folder, with a plus where files have changed; None outside a repository."""
    try:
        command = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
