"""What diagnostics cost, in per cent of the training time: basic must stay under 5 %.

Trainings with and without them alternate, so that a slow moment of the machine meets both. Run it with nothing else
running: python benchmarks/diagnostics_cost.py [ROUNDS]
"""

import sys
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from threadpoolctl import threadpool_limits

from nnbench.data import Digits
from nnbench.nn import MLP, Adam, Auto, ReLU, Sigmoid, SoftmaxCrossEntropy, Training, spawn_rngs

LIMIT = 0.05
NUM_SEEDS = 10
NUM_EPOCHS = 10
DATA = Digits().load()


@dataclass(frozen=True)
class Setting:
    """A network and how it is trained."""

    hidden: tuple[int, ...]
    activation: type
    batch_size: int


SETTINGS = (
    Setting((32,), ReLU, 32),  # the default command
    Setting((32,), Sigmoid, 32),
    Setting((128, 64), ReLU, 32),
    Setting((32,), ReLU, 128),
)


def train(setting: Setting, diagnostics: str) -> tuple[float, Training]:
    """Return the seconds of a whole training, evaluation and diagnostics included, and the training."""
    model = MLP(
        (64, *setting.hidden, 10),
        activations=[setting.activation()] * len(setting.hidden),
        loss=SoftmaxCrossEntropy(),
        num_replicas=NUM_SEEDS,
    )
    initial, order = zip(*(spawn_rngs(seed) for seed in range(NUM_SEEDS)), strict=True)
    model.initialize(Auto(), initial)
    training = Training(
        model,
        Adam(model.params),
        order,
        num_epochs=NUM_EPOCHS,
        batch_size=setting.batch_size,
        diagnostics=diagnostics,
    )
    started = perf_counter()
    training.run(DATA.train, DATA.validation)
    return perf_counter() - started, training


def main(num_rounds: int) -> int:
    """Print a line for each setting; return 1 if basic diagnostics cost too much somewhere."""
    worst = 0.0
    print(f"{NUM_SEEDS} seeds, {NUM_EPOCHS} epochs of digits, Adam; medians of {num_rounds} rounds")
    print(f"{'setting':34}{'training':>10}{'basic':>16}{'basic, by its own clock':>26}{'full':>10}")
    for setting in SETTINGS:
        train(setting, "basic")  # warms up
        without, added, clocked, full = [], [], [], []
        for _ in range(num_rounds):
            seconds_none, none = train(setting, "none")
            seconds_basic, basic = train(setting, "basic")
            assert basic.watch is not None
            without.append(none.train_seconds)
            added.append((seconds_basic - seconds_none) / none.train_seconds)
            clocked.append(basic.watch.seconds / basic.train_seconds)
        seconds_full, _ = train(setting, "full")
        full.append((seconds_full - seconds_none) / none.train_seconds)
        worst = max(worst, median(added))
        name = f"{list(setting.hidden)} {setting.activation.__name__}, batch {setting.batch_size}"
        print(
            f"{name:34}{1000 * median(without):7.0f} ms{100 * median(added):+14.1f} %{100 * median(clocked):24.1f} %"
            f"{100 * median(full):+8.0f} %"
        )
    print(f"limit {LIMIT:.0%}: {'kept' if worst < LIMIT else 'missed'}")
    return 0 if worst < LIMIT else 1


if __name__ == "__main__":
    with threadpool_limits(1):
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
