"""A cell: one setting, as objects ready to use. Its replicas are one training for each seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from nnbench.data import Source
from nnbench.nn.activations import Activation
from nnbench.nn.diagnostics import Diagnostics
from nnbench.nn.initializers import Initializer
from nnbench.nn.losses import Loss
from nnbench.nn.optimizers import Optimizer
from nnbench.nn.schedules import Schedule
from nnbench.nn.training import Selection
from nnbench.protocol.search import Range, Search, Trial

Status: TypeAlias = Literal["finished", "diverged", "failed", "interrupted"]
Vary: TypeAlias = Literal["all", "init", "order"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that determines a result, as objects ready to use."""

    choices: Mapping[str, str]  # the name chosen in each group: optimizer -> adam
    source: Source
    activations: tuple[Activation, ...]  # one for each hidden layer
    loss: Loss
    initializer: Initializer
    schedule: Schedule
    new_optimizer: Callable[..., Optimizer]  # from the parameters it is to change; keywords replace hyperparameters
    learning_rate: float  # the configured one
    hidden: tuple[int, ...]
    bias: bool
    seeds: tuple[int, ...]
    vary: Vary  # what a seed draws: initial weights and batch order, or one of them alone
    num_epochs: int
    batch_size: int | Literal["full"]
    weight_decay: float
    clip_norm: float | None
    selection: Selection
    patience: int | None
    dtype: Literal["float32", "float64"]
    diagnostics: Diagnostics
    target_accuracy: float | None
    tuning: Search | None
    space: Mapping[str, Range]  # where tuning may look
    untuned: Trial  # the configured value of each hyperparameter in the space
    stack_size: int | None  # replicas that are in memory at once, at most; it changes no result
    stacks_at_once: int = 1  # threads; they change no result either

    def steps_per_epoch(self, num_samples: int) -> int:
        """Return the number of mini-batches in a training split of that size."""
        return 1 if self.batch_size == "full" else -(-num_samples // self.batch_size)

    def layer_sizes(self, num_features: int, num_classes: int) -> tuple[int, ...]:
        """Return (inputs, *hidden, outputs) for a data set of that size."""
        return (num_features, *self.hidden, self.loss.num_outputs(num_classes))

    def num_trainings(self) -> int:
        """Return the replicas that the plan trains, without extensions: trials, final seeds, untuned default."""
        if self.tuning is None:
            return len(self.seeds)
        return len(self.tuning.trials(self.space)) * len(self.tuning.tuning_seeds) + 2 * len(self.seeds)
