"""What all tests have in common: one BLAS thread, as in a training; workers side by side would wait for each other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import scipy.linalg  # noqa: F401 - brings a BLAS of its own, which has to be there to be limited
from threadpoolctl import threadpool_limits

# Files whose tests wait for real commands, the longest first: begun last, one of them would keep a single core busy.
LONG_FILES = (
    "test_stopping.py",
    "test_kill_and_resume.py",
    "test_app.py",
    "test_full_disk.py",
    "test_report.py",
    "test_two_sweeps.py",
    "test_server.py",
    "test_status.py",
    "test_verify.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long files begin first."""
    items.sort(key=lambda item: LONG_FILES.index(item.path.name) if item.path.name in LONG_FILES else len(LONG_FILES))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a store, which takes seconds to make; to be copied to where one is wanted."""
    from nnbench.tracking import store

    database = tmp_path_factory.mktemp("empty") / "mlflow.db"
    store.prepare(f"sqlite:///{database}", "not used")
    return database


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread() -> Iterator[None]:
    """Limit what is computed in this process; a command in a process of its own does so itself."""
    with threadpool_limits(1):
        yield
