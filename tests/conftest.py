"""What all tests have in common: one BLAS thread, as in a training; workers side by side would wait for each other."""

from collections.abc import Iterator

import pytest
import scipy.linalg  # noqa: F401 - brings a BLAS of its own, which has to be there to be limited
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread() -> Iterator[None]:
    """Limit what is computed in this process; a command in a process of its own does so itself."""
    with threadpool_limits(1):
        yield
