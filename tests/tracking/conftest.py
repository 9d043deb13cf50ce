"""Cells that are trained once for all tests of the record, and stores to publish them to."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from tracking_cases import Trained, train

SMALL = ("dataset=iris", "hidden=[4]", "num_epochs=3", "progress=false")


@pytest.fixture(scope="session", autouse=True)
def _sweep_of_this_process(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("current"))
        patch.setenv("NNBENCH_SWEEP", "a-sweep")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="session")
def iris(_sweep_of_this_process) -> Trained:
    """Two replicas on a table with named columns."""
    return train(*SMALL, "seeds=[3,5]")


@pytest.fixture(scope="session")
def digits(_sweep_of_this_process) -> Trained:
    """One replica on images."""
    return train("dataset=digits", "hidden=[16]", "num_epochs=5", "seeds=1", "progress=false")


@pytest.fixture(scope="session")
def mixed(_sweep_of_this_process) -> Trained:
    """Three replicas, of which the second diverges and none meets the target."""
    return train(*SMALL, "seeds=3", "optimizer=gd", "target_accuracy=1.0", "num_epochs=1", spoilt=1)


@pytest.fixture(scope="session")
def diverged(_sweep_of_this_process) -> Trained:
    """A single replica, which diverges."""
    return train(*SMALL, "seeds=1", spoilt=0)


@dataclass(frozen=True)
class Store:
    """A store of its own with an empty record."""

    database: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"


@pytest.fixture
def new_store(empty_database, tmp_path):
    """A function that returns another store each time."""

    def new(name: str = "store") -> Store:
        (tmp_path / name).mkdir()
        return Store(Path(shutil.copy(empty_database, tmp_path / name)))

    return new
