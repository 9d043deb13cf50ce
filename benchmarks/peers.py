"""How fast nnbench trains, beside the bare matrix products, scikit-learn, PyTorch, JAX and a plain NumPy loop.

Everyone trains the same networks on the same genuine data, on one core, one thread, float32 (the plain loop: float64),
with Adam. Each contender has a process of its own; they take turns, some epochs each, round after round, so that a slow
moment of the machine meets all of them. The first turn warms up and is reported apart. Times are microseconds per step
and training, with quartiles over the rounds; ratios are medians of the ratios within a round.

    python benchmarks/peers.py              everyone on every network, about three minutes
    python benchmarks/peers.py --optimizers nnbench's five optimizers on the two larger networks
    python benchmarks/peers.py --replicas   nnbench's cost per training as replicas grow
    python benchmarks/peers.py --quick      a few steps on digits

MNIST is read from $NNBENCH_DATA; JAX and PyTorch come with `pip install '.[peers]'`. Without them, or without MNIST,
what is missing is named and left out. Run it with nothing else running. Writes a table and a plot beside this file.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nnbench.data import MNIST, DataError, Digits, Split

FOLDER = Path(__file__).resolve().parent
ONE_THREAD = {
    **dict.fromkeys(
        (
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "MKL_NUM_THREADS",
            "BLIS_NUM_THREADS",
            "VECLIB_MAXIMUM_THREADS",
            "NUMEXPR_NUM_THREADS",
        ),
        "1",
    ),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
}
TRAINING_EPOCHS = 30  # of the default command: over so many is a compilation spread


@dataclass(frozen=True)
class Contender:
    """Who trains: a class of a file in `contenders/`, and the library that it cannot do without."""

    name: str
    module: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    library: str | None = None  # None: nnbench has it itself
    networks: tuple[str, ...] | None = None  # None: all


@dataclass(frozen=True)
class Network:
    """What is trained, and how much of it is a round."""

    layer_sizes: tuple[int, ...]
    batch_size: int
    dataset: str
    num_samples: int  # at most, of the training split; whole batches of these are used
    epochs_in_round: int
    num_rounds: int

    @property
    def name(self) -> str:
        """The sizes of the layers."""
        return "-".join(map(str, self.layer_sizes))

    @property
    def title(self) -> str:
        """Layers and mini-batch."""
        return f"{self.name}, {self.batch_size}"


@dataclass
class Measurement:
    """What was measured of one contender on one network."""

    network: Network
    contender: str
    num_replicas: int
    num_steps: int  # of an epoch
    first_seconds: float = 0.0  # of the first epoch, which warms up and compiles
    round_seconds: list[float] = field(default_factory=list)  # of each later round
    loss: float | None = None  # on the training data, in the end

    @property
    def microseconds(self) -> NDArray:
        """Time per step and training, (rounds,)."""
        steps = self.num_steps * self.network.epochs_in_round * self.num_replicas
        return np.array(self.round_seconds) * 1e6 / steps

    @property
    def extra_seconds(self) -> float:
        """What the first epoch took longer than a later one."""
        return max(0.0, self.first_seconds - float(np.median(self.round_seconds)) / self.network.epochs_in_round)


@dataclass(frozen=True)
class Goal:
    """A ratio to reach: of the times of `slower` and `faster` on a network, at most or at least a bound.

    Where `faster` or `slower` names several contenders, the one with the lowest time counts.
    """

    what: str
    network: str
    slower: tuple[str, ...]
    faster: tuple[str, ...]
    at_most: float = np.inf
    at_least: float = 0.0


DIGITS = Network((64, 32, 10), 32, "digits", 1437, epochs_in_round=8, num_rounds=15)
NARROW = Network((784, 32, 16, 10), 32, "mnist", 10_000, epochs_in_round=1, num_rounds=6)
WIDE = Network((784, 128, 64, 10), 128, "mnist", 10_000, epochs_in_round=1, num_rounds=7)
WIDEST = Network((784, 512, 256, 10), 256, "mnist", 5_120, epochs_in_round=1, num_rounds=5)
NETWORKS = (DIGITS, NARROW, WIDE, WIDEST)

ONE, TEN, THIRTY_FIVE = "nnbench, alone", "nnbench, stack of 10", "nnbench, stack of 35"
BARE, NAIVE, SCIKIT = "bare matrix products", "plain NumPy loop", "scikit-learn MLPClassifier"
EAGER, FUSED, VMAP = "PyTorch, eager", "PyTorch, fused Adam", "PyTorch, vmap of 10"
JAX = "JAX, vmap + jit + scan of 10"
PEERS = (
    Contender(BARE, "bare", "Bare"),
    Contender(ONE, "own", "Own", {"num_replicas": 1}),
    Contender(TEN, "own", "Own", {"num_replicas": 10}),
    Contender(THIRTY_FIVE, "own", "Own", {"num_replicas": 35}, networks=(DIGITS.name, NARROW.name)),
    Contender(f"{TEN}, basic diagnostics", "own", "Own", {"num_replicas": 10, "diagnostics": "basic"}),
    Contender(NAIVE, "naive", "Naive"),
    Contender(SCIKIT, "scikit", "ScikitLearn"),
    Contender(EAGER, "pytorch", "Loop", library="torch"),
    Contender(FUSED, "pytorch", "Loop", {"fused": True}, library="torch"),
    Contender(VMAP, "pytorch", "Vmap", {"num_replicas": 10}, library="torch"),
    Contender(JAX, "jax_population", "Population", {"num_replicas": 10}, library="jax"),
)
STACK = (TEN,)
BETTER = (ONE, TEN)  # on wide networks a stack of 10 may no longer fit the cache
PEER_GOALS = (
    Goal("over bare matrix products", DIGITS.name, STACK, (BARE,), at_most=2.0),
    Goal("over bare matrix products", WIDE.name, BETTER, (BARE,), at_most=1.6),
    Goal("over bare matrix products", WIDEST.name, BETTER, (BARE,), at_most=1.25),
    Goal("against JAX, compiling left out", DIGITS.name, (JAX,), STACK, at_least=1.0),
    Goal("against JAX, compiling left out", NARROW.name, (JAX,), STACK, at_least=1.0),
    Goal("against JAX, compiling left out", WIDE.name, (JAX,), BETTER, at_least=1.0),
    Goal("against JAX, compiling left out", WIDEST.name, (JAX,), BETTER, at_least=1.0),
    Goal("against scikit-learn", DIGITS.name, (SCIKIT,), STACK, at_least=15),
    Goal("against scikit-learn", NARROW.name, (SCIKIT,), STACK, at_least=5),
    Goal("against scikit-learn", WIDE.name, (SCIKIT,), BETTER, at_least=2.5),
    Goal("against scikit-learn", WIDEST.name, (SCIKIT,), BETTER, at_least=1.9),
    Goal("against PyTorch, eager", DIGITS.name, (EAGER,), STACK, at_least=30),
    Goal("against PyTorch, fused", DIGITS.name, (FUSED,), STACK, at_least=22),
    Goal("against PyTorch, eager", WIDEST.name, (EAGER,), BETTER, at_least=1.3),
    Goal("against PyTorch, fused", WIDEST.name, (FUSED,), BETTER, at_least=1.0),
)

OPTIMIZERS = ("GD", "Momentum", "Adagrad", "RMSprop", "Adam")
OPTIMIZER_STACKS = tuple(
    Contender(f"{name}, {size}", "own", "Own", {"num_replicas": num_replicas, "optimizer": name})
    for num_replicas, size in ((1, "alone"), (10, "stack of 10"))
    for name in OPTIMIZERS
)
OPTIMIZER_GOALS = tuple(
    Goal(f"over GD, {size}", network.name, (f"{name}, {size}",), (f"GD, {size}",), at_most=1.5)
    for network in (WIDE, WIDEST)
    for size in ("alone", "stack of 10")
    for name in OPTIMIZERS[1:]
)

GROWING = replace(DIGITS, epochs_in_round=2, num_rounds=9)
NOISE = 1.03  # two measurements of one thing may differ by that much
REPLICAS = (1, 10, 100, 1000)
REPLICA_STACKS = tuple(Contender(f"{number} in all", "own", "Divided", {"num_replicas": number}) for number in REPLICAS)
REPLICA_GOALS = tuple(
    Goal("cost as replicas grow", DIGITS.name, (f"{more} in all",), (f"{fewer} in all",), at_most=NOISE)
    for fewer, more in pairwise(REPLICAS)
)


@dataclass(frozen=True)
class Comparison:
    """What one command measures."""

    title: str
    file_name: str
    contenders: tuple[Contender, ...]
    networks: tuple[Network, ...]
    goals: tuple[Goal, ...]
    reference: str  # whose time the ratios are over


COMPARISON = Comparison("nnbench and its peers", "peers", PEERS, NETWORKS, PEER_GOALS, TEN)
OPTIMIZER_COMPARISON = Comparison(
    "nnbench's optimizers", "optimizers", OPTIMIZER_STACKS, (WIDE, WIDEST), OPTIMIZER_GOALS, "GD, stack of 10"
)
REPLICA_COMPARISON = Comparison("nnbench's replicas", "replicas", REPLICA_STACKS, (GROWING,), REPLICA_GOALS, "1 in all")
QUICK = replace(DIGITS, epochs_in_round=2, num_rounds=5)


class WorkerError(Exception):
    """A contender's process has ended without an answer."""


class Worker:
    """The process of a contender, which waits for commands."""

    def __init__(self, contender: Contender, log: IO[bytes]):
        self.contender = contender
        self.log = log
        search_path = os.pathsep.join([str(FOLDER), *(path for path in sys.path if path)])
        what = (contender.module, contender.kind, json.dumps(contender.options))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "contenders.worker", *what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": search_path},
        )

    def close(self) -> None:
        """End the process, which has nothing to lose."""
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def ask(self, **command: Any) -> Any:
        """Return the answer to a command; raises `WorkerError`, with the end of its log, if there is none."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:  # it has ended before
            answer = ""
        if not answer:
            self.log.seek(0)
            raise WorkerError(f"{self.contender.name} has ended:\n{self.log.read().decode(errors='replace')[-2000:]}")
        return json.loads(answer)


def load(dataset: str) -> Split | None:
    """Return the training split; None where MNIST is not in $NNBENCH_DATA."""
    if dataset == "digits":
        return Digits().load().train
    folder = Path(os.environ.get("NNBENCH_DATA", "")) / "mnist"
    if "NNBENCH_DATA" not in os.environ or not folder.is_dir():
        print("MNIST is left out: NNBENCH_DATA does not name a folder that has mnist/ with the four files")
        return None
    try:
        return MNIST(root=folder).load().train
    except DataError as error:
        print(f"MNIST is left out: {error}")
        return None


def write_problems(networks: Iterable[Network], folder: Path) -> dict[str, dict[str, Any]]:
    """Write the training data of each network into `folder`; return what a worker begins with, by network's name."""
    splits: dict[str, Split | None] = {}
    problems = {}
    for network in networks:
        if network.dataset not in splits:
            splits[network.dataset] = load(network.dataset)
        train = splits[network.dataset]
        if train is None:
            continue
        num_samples = min(network.num_samples, len(train)) // network.batch_size * network.batch_size
        # Rows of a split are in the order of their source; drawn, so that a part has every class.
        rows = np.random.default_rng(0).permutation(len(train))[:num_samples]
        paths = {name: folder / f"{network.name}-{name}.npy" for name in ("inputs", "labels")}
        np.save(paths["inputs"], train.inputs[rows])
        np.save(paths["labels"], train.labels[rows])
        problems[network.name] = {
            "layer_sizes": network.layer_sizes,
            "batch_size": network.batch_size,
            **{name: str(path) for name, path in paths.items()},
            "num_steps": num_samples // network.batch_size,
        }
    return problems


def measure(contenders: Sequence[Contender], networks: Sequence[Network]) -> tuple[list[Measurement], list[str]]:
    """Let the contenders take turns on one network after the other; return what was measured and what failed."""
    measurements, failures = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problems = write_problems(networks, folder)
        workers: list[Worker] = []
        try:
            for number, contender in enumerate(contenders):
                workers.append(Worker(contender, (folder / f"{number}.log").open("w+b")))
            for network in networks:
                if network.name in problems:
                    print(f"{network.title}: {network.num_rounds} rounds", flush=True)
                    taking_part = [w for w in workers if network.name in (w.contender.networks or [network.name])]
                    measurements += measure_network(network, problems[network.name], taking_part, failures)
        finally:
            for worker in workers:
                worker.close()
    return measurements, failures


def measure_network(
    network: Network, problem: dict[str, Any], workers: Sequence[Worker], failures: list[str]
) -> list[Measurement]:
    """Return a measurement for each worker that came to the end; what happened to the others goes to `failures`."""
    measurements: dict[Worker, Measurement] = {}
    for turn in range(-1, network.num_rounds + 1):
        for worker in workers if turn < 0 else list(measurements):
            try:
                if turn < 0:
                    num_replicas = worker.ask(begin=problem)
                    measurements[worker] = Measurement(
                        network, worker.contender.name, num_replicas, problem["num_steps"]
                    )
                    measurements[worker].first_seconds = worker.ask(epochs=1)
                elif turn < network.num_rounds:
                    measurements[worker].round_seconds.append(worker.ask(epochs=network.epochs_in_round))
                else:
                    measurements[worker].loss = worker.ask(loss=True)
            except WorkerError as error:
                failures.append(f"{network.title}: {error}")
                measurements.pop(worker, None)
    return list(measurements.values())


class Results:
    """Measurements, found by network and contender."""

    def __init__(self, measurements: Sequence[Measurement], comparison: Comparison):
        self.comparison = comparison
        self.by_place = {(one.network.name, one.contender): one for one in measurements}
        self.networks = list(dict.fromkeys(one.network for one in measurements))
        there = {contender for _, contender in self.by_place}
        self.contenders = [contender.name for contender in comparison.contenders if contender.name in there]

    def ratio(self, network: str, over: str, under: str) -> float | None:
        """Return the median over the rounds of the time of `over` over that of `under`; None where one is missing."""
        over_times, under_times = self.by_place.get((network, over)), self.by_place.get((network, under))
        if over_times is None or under_times is None:
            return None
        return float(np.median(over_times.microseconds / under_times.microseconds))

    def fastest(self, network: str, contenders: Iterable[str]) -> str | None:
        """Return which of these has the lowest median time; None where none was measured."""
        times = {
            name: np.median(self.by_place[network, name].microseconds)
            for name in contenders
            if (network, name) in self.by_place
        }
        return min(times, key=lambda name: times[name]) if times else None


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def time_table(results: Results) -> list[str]:
    """Return the table of times: median, quartiles, ratio to the reference."""

    def entry(network: Network, contender: str) -> str:
        one = results.by_place.get((network.name, contender))
        if one is None:
            return ""
        low, middle, high = np.percentile(one.microseconds, [25, 50, 75])
        ratio = results.ratio(network.name, contender, results.comparison.reference)
        times = f"{middle:,.0f} [{low:,.0f}, {high:,.0f}]"
        return times if ratio is None else f"{times} {ratio:.2f} x"

    header = ["microseconds per step and training", *(network.title for network in results.networks)]
    rows = [[name, *(entry(network, name) for network in results.networks)] for name in results.contenders]
    return markdown(header, rows)


def compile_table(results: Results) -> list[str]:
    """Return what compiling adds for JAX, network by network; no line where it did not run."""
    rows = []
    for network in results.networks:
        one = results.by_place.get((network.name, JAX))
        if one is not None:
            middle = float(np.median(one.microseconds))
            spread = one.extra_seconds * 1e6 / (TRAINING_EPOCHS * one.num_steps * one.num_replicas)
            rows.append([network.title, f"{one.extra_seconds:.1f} s", f"{middle:,.0f}", f"{middle + spread:,.0f}"])
    header = ["JAX", "first epoch takes longer by", "without it", f"with it, over {TRAINING_EPOCHS} epochs"]
    return [*markdown(header, rows), ""] if rows else []


def loss_table(results: Results) -> list[str]:
    """Return the losses that the trainings reached."""

    def entry(network: Network, contender: str) -> str:
        one = results.by_place.get((network.name, contender))
        return "" if one is None or one.loss is None else f"{one.loss:.4f}"

    header = ["training loss in the end", *(network.title for network in results.networks)]
    rows = [[name, *(entry(network, name) for network in results.networks)] for name in results.contenders]
    return markdown(header, [row for row in rows if any(row[1:])])


def goal_table(results: Results) -> list[str]:
    """Return each goal that could be measured, with what became of it."""
    rows = []
    for goal in results.comparison.goals:
        slower, faster = results.fastest(goal.network, goal.slower), results.fastest(goal.network, goal.faster)
        if slower is None or faster is None:
            continue
        ratio = results.ratio(goal.network, slower, faster)
        assert ratio is not None
        wanted = f"at most {goal.at_most:g}" if goal.at_most < np.inf else f"at least {goal.at_least:g}"
        verdict = "reached" if goal.at_least <= ratio <= goal.at_most else "missed"
        rows.append([goal.what, goal.network, f"{slower} / {faster}", wanted, f"{ratio:.2f}", verdict])
    return markdown(["to reach", "network", "times", "wanted", "ratio", ""], rows)


def machine(cores_used: str = "one of them used") -> str:
    """Return processor, cores and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = [
        f"{package} {version(package)}" for package in ("numpy", "scikit-learn", "torch", "jax") if find_module(package)
    ]
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{processor}, {os.cpu_count()} cores, {cores_used}; Python {platform.python_version()}, {', '.join(packages)}"
    )


def find_module(package: str) -> bool:
    """Whether a package is installed."""
    return find_spec({"scikit-learn": "sklearn"}.get(package, package)) is not None


def epochs(number: int) -> str:
    """Return the number with its unit."""
    return "1 epoch" if number == 1 else f"{number} epochs"


def describe(results: Results) -> str:
    """Return the whole report as Markdown."""
    rounds = ", ".join(f"{n.name}: {n.num_rounds} rounds of {epochs(n.epochs_in_round)}" for n in results.networks)
    lines = [
        f"# {results.comparison.title}",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}. {machine()}.",
        f"Interleaved ({rounds}); median and [quartiles], then the time over that of: {results.comparison.reference}.",
        "",
        *time_table(results),
        "",
        *compile_table(results),
        *loss_table(results),
        "",
        *goal_table(results),
        "",
    ]
    return "\n".join(lines)


def colour_of(contender: str) -> str:
    """Return nnbench's colour, that of the limit, or that of all others."""
    if contender == BARE:
        return "0.25"
    return "C0" if contender.startswith("nnbench") else "0.65"


def draw(results: Results, path: Path) -> None:
    """Draw the time of each contender over that of the reference, one panel for each network."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    num_columns = min(2, len(results.networks))
    num_rows = -(-len(results.networks) // num_columns)
    height = 0.9 + 0.3 * len(results.contenders)
    figure, axes = plt.subplots(
        num_rows, num_columns, figsize=(5.4 * num_columns, height * num_rows), sharex=True, squeeze=False
    )
    for ax in axes.flat[len(results.networks) :]:
        ax.remove()
    for network, ax in zip(results.networks, axes.flat, strict=False):
        ratios = {
            name: ratio
            for name in results.contenders
            if (ratio := results.ratio(network.name, name, results.comparison.reference)) is not None
        }
        ratios = dict(sorted(ratios.items(), key=lambda item: -item[1]))
        places, values = np.arange(len(ratios)), np.array(list(ratios.values()))
        ax.barh(places, values - 1, left=1, color=[colour_of(name) for name in ratios])
        ax.axvline(1, color="0.2", linewidth=1)  # where the reference stands
        ax.set_xscale("log")
        for place, value in zip(places, values, strict=True):
            ax.annotate(
                f"{value:.2f}" if value < 10 else f"{value:.0f}",
                (value, place),
                xytext=(3 if value >= 1 else -3, 0),
                textcoords="offset points",
                ha="left" if value >= 1 else "right",
                va="center",
                fontsize=8,
            )
        ax.set_yticks(places, list(ratios), fontsize=8)
        ax.set_title(f"{network.name}, mini-batch {network.batch_size}", fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelbottom=True)
    ends = np.array([ax.dataLim.intervalx for ax in axes.flat[: len(results.networks)]])
    low, high = ends.min(), ends.max()
    room = (high / low) ** 0.1 * 1.25  # for the numbers beside the bars
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low / room <= tick <= high * room]
    axes[0, 0].set_xlim(low / room, high * room)
    axes[0, 0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0, 0].minorticks_off()
    figure.supxlabel(f"time per step and training over that of {results.comparison.reference} (log scale)", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def write(results: Results, folder: Path) -> None:
    """Write table and plot into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results.comparison.file_name}.md"
    path.write_text(describe(results), encoding="utf-8")
    draw(results, path.with_suffix(".png"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 1 if something failed to run."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--optimizers", action="store_true", help="nnbench's optimizers on the two larger networks")
    what.add_argument("--replicas", action="store_true", help="nnbench's cost per training as replicas grow")
    what.add_argument("--quick", action="store_true", help="a few steps on digits; writes only with --output")
    parser.add_argument("--networks", nargs="+", choices=[n.name for n in NETWORKS], help="only these")
    parser.add_argument("--without-peers", action="store_true", help="only what nnbench's own dependencies bring")
    parser.add_argument("--output", type=Path, help="the folder of table and plot; by default this file's")
    chosen = parser.parse_args(arguments)

    comparison = COMPARISON
    if chosen.optimizers:
        comparison = OPTIMIZER_COMPARISON
    elif chosen.replicas:
        comparison = REPLICA_COMPARISON
    networks = (QUICK,) if chosen.quick else comparison.networks
    networks = tuple(n for n in networks if chosen.networks is None or n.name in chosen.networks)
    contenders = []
    for contender in comparison.contenders:
        if contender.library is not None and chosen.without_peers:
            continue
        if contender.library is not None and not find_module(contender.library):
            print(f"{contender.name} is left out: {contender.library} is not installed; pip install '.[peers]'")
            continue
        contenders.append(contender)

    measurements, failures = measure(contenders, networks)
    results = Results(measurements, comparison)
    if measurements:
        print(describe(results))
        if chosen.output is not None or not chosen.quick:
            write(results, chosen.output or FOLDER)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures or not measurements else 0


if __name__ == "__main__":
    sys.exit(main())
