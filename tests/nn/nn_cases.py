"""What the tests of the network share: the families of the conf folder, a small problem, and a training of it.

A family is a folder of `conf/`: every file in it becomes a case of the tests of that family, so a new activation, loss,
initializer, schedule or optimizer is tested by existing.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml
from numpy.typing import NDArray

from nnbench import nn

CONF = Path(__file__).parents[2] / "conf"


@dataclass(frozen=True)
class Entry:
    """One file of the conf folder: the class that it names and the keyword arguments that it gives."""

    name: str
    target: Callable[..., Any]
    options: dict[str, Any]
    space: dict[str, dict[str, Any]]  # where tuning may look; empty for all but optimizers

    def build(self, *args: Any, **changes: Any) -> Any:
        """Call the class with the options of the file, some of them changed."""
        return self.target(*args, **self.options | changes)


@cache
def family(group: str) -> dict[str, Entry]:
    """Return the entries of a config group by name."""
    entries = {}
    for path in sorted((CONF / group).glob("*.yaml")):
        options = yaml.safe_load(path.read_text())
        module, _, name = options.pop("_target_").rpartition(".")
        space = options.pop("space", {})
        entries[path.stem] = Entry(path.stem, getattr(importlib.import_module(module), name), options, space)
    return entries


OPTIMIZERS = sorted(family("optimizer"))
ACTIVATIONS = {name: entry.build() for name, entry in family("activation").items()}
ACTIVATIONS["leaky_relu_steep"] = nn.LeakyReLU(negative_slope=0.3)
INITIALIZERS = {name: entry.build() for name, entry in family("initializer").items()}
SCHEDULES = {name: entry.build() for name, entry in family("schedule").items()}


def _losses() -> dict[str, Any]:
    """Return every loss of the conf folder: one for each kind of output, and one with other targets."""
    losses = {}
    for name, entry in family("loss").items():
        output = entry.target.__annotations__.get("output")
        for choice in get_args(output) or [None]:
            changes = {} if choice is None else {"output": choice}
            losses["-".join(filter(None, [name, choice]))] = entry.build(**changes)
        if "low" in entry.options:
            losses[f"{name}-soft_targets"] = entry.build(low=0.1, high=0.8)
    return losses


LOSSES = _losses()
RELU_THEN_TANH = (nn.ReLU(), nn.Tanh())
SOFTMAX_CROSS_ENTROPY = nn.SoftmaxCrossEntropy()
WITH_BIASES = nn.Auto(bias_std=0.1)
# Four layers whose units cannot die, with unbounded outputs: it overflows where the learning rate is far too high.
UNBOUNDED = {
    "layer_sizes": (5, 6, 6, 6, 3),
    "activations": (nn.LeakyReLU(negative_slope=0.3),) * 3,
    "loss": nn.MeanSquaredError(output="identity"),
}
LOSSES_AND_CLASSES = [(name, num_classes) for name, num_classes in product(LOSSES, (2, 3))]


@dataclass(frozen=True)
class Samples:
    """Inputs (samples, features) and labels (samples,)."""

    inputs: NDArray
    labels: NDArray


def blobs(
    num_samples: int, *, num_features: int = 5, num_classes: int = 3, dtype: Any = np.float32, seed: int = 0
) -> Samples:
    """Draw samples around one centre per class, near enough to each other to be a problem."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((num_classes, num_features))
    labels = rng.integers(num_classes, size=num_samples)
    return Samples((centres[labels] + rng.standard_normal((num_samples, num_features))).astype(dtype), labels)


def build_training(
    optimizer: str,
    seeds: Sequence[int],
    *,
    layer_sizes: Sequence[int] = (5, 7, 4, 3),
    activations: Sequence[Any] = RELU_THEN_TANH,
    loss: Any = SOFTMAX_CROSS_ENTROPY,
    initializer: Any = WITH_BIASES,
    dtype: Any = np.float32,
    options: dict[str, Any] | None = None,
    prepare: Callable[[nn.MLP], None] | None = None,
    **settings: Any,
) -> nn.Training:
    """Build a training of one replica for each seed; `prepare` may change the initial model."""
    rngs = [nn.spawn_rngs(seed) for seed in seeds]
    model = nn.MLP(layer_sizes, activations=activations, loss=loss, num_replicas=len(seeds), dtype=dtype)
    model.initialize(initializer, [initial for initial, _ in rngs])
    if prepare is not None:
        prepare(model)
    stepper = family("optimizer")[optimizer].build(model.params, **options or {})
    return nn.Training(model, stepper, [order for _, order in rngs], **{"num_epochs": 3, "batch_size": 5} | settings)


def outcome(training: nn.Training) -> dict[str, NDArray]:
    """Return all that a training has brought about but for its time, by name; the replica is the last axis."""
    arrays = {
        "selected_params": training.selected_params.T,
        "selected_epoch": training.selected_epoch,
        "stopped_epoch": training.stopped_epoch,
        "diverged_step": training.diverged_step,
    }
    last_params = np.full_like(training.selected_params, np.nan)
    last_params[training.active] = training.model.params
    arrays["params"] = last_params.T
    history = {name: values for name, values in training.history.items() if not name.startswith("time/")}
    for name, values in history.items():
        assert len(values) == training.epoch, name
        # Where none was left to train, those that stopped stay where they were.
        rest = np.where(training.stopped_epoch >= 0, values[-1], np.nan)
        arrays[name] = np.concatenate([values, np.tile(rest, (training.num_epochs - training.epoch, 1))])
    return arrays


def assert_same_bits(actual: dict[str, NDArray], wanted: dict[str, NDArray]) -> None:
    """Compare two outcomes exactly; not a number equals itself."""
    assert actual.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(actual[name], wanted[name], err_msg=name, strict=True)


def replicas_of(arrays: dict[str, NDArray], replicas: Sequence[int]) -> dict[str, NDArray]:
    """Return the outcome of some of the replicas."""
    return {name: values[..., list(replicas)] for name, values in arrays.items()}


def side_by_side(outcomes: Sequence[dict[str, NDArray]]) -> dict[str, NDArray]:
    """Join the outcomes of several trainings into what one stack would have brought about."""
    return {name: np.concatenate([arrays[name] for arrays in outcomes], axis=-1) for name in outcomes[0]}
