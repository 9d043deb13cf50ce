"""Subnormal numbers as zero: those below 1.2e-38 (float32), which many processors are slow with.

An optimizer's averages of gradients that have become zero, of pixels that are always dark or of units that have died,
decay into them, and nothing that a network learns is that small. JAX and PyTorch's fused kernels flush them, too.
"""

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

FLUSH_TO_ZERO, DENORMALS_ARE_ZERO = 1 << 15, 1 << 6  # of MXCSR: Intel, Software Developer's Manual 1, section 10.2.3
SIZE, MXCSR = 32, 28  # of `fenv_t` in the C libraries of Linux on x86-64, and where in it the register is, bytes

for _dtype in (np.float32, np.float64):
    np.finfo(_dtype)  # asked for the first time in `flushed`, it would warn that there are none


@contextmanager
def flushed() -> Iterator[None]:
    """Let the processor take subnormal numbers as zero in this thread, and give zero for them.

    By the C library's `fesetenv`, on Linux on x86-64; elsewhere nothing is done.
    """
    if _library is None:
        yield
        return
    before, environment = ctypes.create_string_buffer(SIZE), ctypes.create_string_buffer(SIZE)
    _library.fegetenv(before)
    register = int.from_bytes(before.raw[MXCSR:], sys.byteorder) | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO
    environment.raw = before.raw[:MXCSR] + register.to_bytes(SIZE - MXCSR, sys.byteorder)
    _library.fesetenv(environment)
    try:
        yield
    finally:
        _library.fesetenv(before)


def can_be_flushed() -> bool:
    """Return whether `flushed` does anything on this machine."""
    with flushed():
        return bool((np.full(1, 1e-39, np.float32) * np.ones(1, np.float32) == 0).all())


def _c_library() -> ctypes.CDLL | None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "fegetenv") and hasattr(library, "fesetenv") else None


_library = _c_library()
