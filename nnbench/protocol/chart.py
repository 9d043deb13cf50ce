"""A replica's chart: what its training has shown of it, for the run doctor to read. The test split is not in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbench.nn import Auto, Identity
from nnbench.nn.initializers import Initializer
from nnbench.protocol.cell import Cell
from nnbench.protocol.stack import Trained

FITTED = 0.97  # training accuracy from which on nothing keeps a network from learning
WIDE_GAP = 0.08  # training less validation accuracy; on the bundled data good networks stay below it


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is known of one replica that did not diverge."""

    cell: Cell
    layer_sizes: tuple[int, ...]
    learning_rate: float
    curves: dict[str, NDArray]  # metric -> (epochs,), up to the one in which it stopped

    @property
    def num_epochs(self) -> int:
        """Epochs that the replica was trained."""
        return len(self.curves["train/loss"])

    @property
    def last_third(self) -> slice:
        """The last third of the epochs, at least one."""
        return slice(-max(1, self.num_epochs // 3), None)

    @property
    def train_accuracy(self) -> float:
        """Mean of the last third of the epochs."""
        return float(self.curves["train/accuracy"][self.last_third].mean())

    @property
    def gap(self) -> float:
        """Training less validation accuracy, mean of the last third of the epochs."""
        return self.train_accuracy - float(self.curves["val/accuracy"][self.last_third].mean())

    @property
    def does_badly(self) -> bool:
        """Whether the replica does not fit, or does not generalise."""
        return self.train_accuracy < FITTED or self.gap > WIDE_GAP

    @property
    def log_loss(self) -> NDArray:
        """Logarithm of the training loss, (epochs,); a loss of zero is as good as the smallest number."""
        return np.log(np.maximum(self.curves["train/loss"], np.finfo(np.float32).tiny))

    @property
    def rises(self) -> float:
        """Share of the epochs after the first third in which the training loss rises."""
        changes = np.diff(self.log_loss)[self.num_epochs // 3 :]
        return float((changes > 0).mean()) if len(changes) else 0.0

    @property
    def late_fall(self) -> float:
        """How far the log of the training loss falls in the last third of the epochs."""
        return float(self.log_loss[-1 - self.num_epochs // 3] - self.log_loss[-1])

    @property
    def late_share(self) -> float:
        """How much of its whole fall that is; none if it does not fall."""
        fall = float(self.log_loss[0] - self.log_loss[-1])
        return self.late_fall / fall if fall > 0 else 0.0

    @property
    def loss_of_guessing(self) -> float:
        """Loss of a network whose outputs are all zero before the last function, over evenly frequent classes."""
        num_outputs = self.layer_sizes[-1]
        labels = np.arange(max(num_outputs, 2))
        logits = np.zeros((1, len(labels), num_outputs))
        return float(self.cell.loss(logits, labels, np.empty_like(logits))[0])

    @property
    def loss_over_guessing(self) -> float:
        """Training loss of the last third of the epochs over that of guessing."""
        return float(np.median(self.curves["train/loss"][self.last_third])) / self.loss_of_guessing

    @property
    def initial_std(self) -> NDArray:
        """Standard deviation of each layer's initial weights, (layers,)."""
        return self._std_by(self.cell.initializer)

    @property
    def auto_std(self) -> NDArray:
        """The one that suits each layer, (layers,)."""
        return self._std_by(Auto())

    def _std_by(self, initializer: Initializer) -> NDArray:
        activations = (*self.cell.activations, Identity())  # the output layer is linear
        layers = zip(self.layer_sizes[:-1], self.layer_sizes[1:], activations, strict=True)
        return np.array([initializer.std(*layer) for layer in layers])

    @property
    def steps(self) -> dict[int, NDArray]:
        """|step| / |parameters| of each layer, (epochs,); parameters that stay zero do not move."""
        return {layer: np.nan_to_num(curve) for layer, curve in self.by_layer("update_ratio").items()}

    def by_layer(self, metric: str) -> dict[int, NDArray]:
        """Return a metric's curve for each layer that has it, layers from 1; none without diagnostics."""
        names = {layer: f"layer{layer}/{metric}" for layer in range(1, len(self.layer_sizes))}
        return {layer: self.curves[name] for layer, name in names.items() if name in self.curves}


def chart_of(cell: Cell, trained: Trained, place: int, learning_rate: float) -> Chart:
    """Return what is known of the replica at a place of the stack."""
    stopped = int(trained.stopped_epoch[place])
    end = stopped if stopped >= 0 else None
    return Chart(
        cell=cell,
        layer_sizes=tuple(trained.model.layer_sizes),
        learning_rate=learning_rate,
        curves={name: values[:end, place] for name, values in trained.history.items()},
    )
