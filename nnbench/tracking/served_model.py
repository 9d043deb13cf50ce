"""The network as MLflow serves it: raw samples in, the predicted class and the probability of each class out.

MLflow runs this file when a logged model is loaded; what it reads are arrays and JSON.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

from nnbench.data import Scaler
from nnbench.nn import MLP


class Network(PythonModel):
    """One trained network with the scaling of its training split and the names of its classes."""

    def load_context(self, context: Any) -> None:
        """Read the files that were logged with the model."""
        folder = Path(context.artifacts["model"])
        self.network = MLP.load(folder / "network.npz")
        self.scaler = Scaler.load(folder / "scaler.npz")
        self.names = json.loads((folder / "names.json").read_text(encoding="utf-8"))

    # An array for images; MLflow takes any other hint, or none, as a reason to warn, and this one as no schema.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Return a row for each sample: its predicted class and the probability of each class."""
        if isinstance(model_input, pd.DataFrame):
            model_input = model_input[self.names["features"]]
        inputs = self.scaler(np.asarray(model_input, dtype=np.float64), self.network.params.dtype)
        probabilities = self.network.probabilities(inputs)[0]
        classes = self.names["classes"]
        table = pd.DataFrame(probabilities, columns=[f"probability of {name}" for name in classes], dtype=np.float64)
        table.insert(0, "class", [classes[label] for label in self.network.predict(inputs)[0]])
        return table


mlflow.models.set_model(Network())
