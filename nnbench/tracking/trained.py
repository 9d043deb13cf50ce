"""The best network of a cell's run, with all that a raw sample needs to be classified."""

import json
from dataclasses import dataclass
from pathlib import Path

from nnbench.data import Scaler
from nnbench.nn import MLP
from nnbench.tracking import read, store


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained network with the scaling of its training split and the names of classes and features."""

    network: MLP
    scaler: Scaler
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]


def fetch(uri: str, run_id: str, folder: Path) -> Trained:
    """Bring the network that a cell's run has logged from the store at a resolved URI into a folder, and read it.

    Raises whatever the store does where there is none, ValueError for a network with parts that nnbench does not have.
    """
    logged = read.LOGGED_NETWORK.rpartition("/")[0]
    brought = Path(store.client(uri).download_artifacts(run_id, logged, str(folder)))
    names = json.loads((brought / "names.json").read_text(encoding="utf-8"))
    return Trained(
        MLP.load(brought / "network.npz"),
        Scaler.load(brought / "scaler.npz"),
        tuple(names["classes"]),
        tuple(names["features"]),
    )
