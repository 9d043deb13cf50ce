"""The plan of a sweep: how much there is to train, how long it takes and how much memory, before it starts.

Time is measured, not guessed: some steps of each kind of stack are trained on some of the data. Memory is counted from
the shapes, because a network that is too large cannot be tried.
"""

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from warnings import catch_warnings

import numpy as np
from threadpoolctl import threadpool_limits

from nnbench.data import Dataset, Split
from nnbench.nn import Training
from nnbench.nn.mlp import EVALUATION_BLOCK, params_by_layer
from nnbench.protocol.baselines import BaselineCell
from nnbench.protocol.cell import Cell
from nnbench.protocol.stack import fastest_size, start
from nnbench.sweep import cores, memory
from nnbench.terminal import in_bytes

PROBE_STEPS = 16  # of each kind of stack
PROBE_WORK = 1e9  # multiplications of a probe, about
FEWEST_SAMPLES = 32
LONG_EPOCH = 0.5  # seconds; a longer one needs no second try
OF_A_WORKER = 2**28  # bytes that a worker has for itself beside stack and data, about
PROBE_SECONDS = 0.3  # for all kinds together; the rest is scaled from those that were tried


@dataclass(frozen=True)
class Plan:
    """What a sweep will take, its cells one after the other; extensions of a grid come on top."""

    num_cells: int
    num_trainings: int
    num_steps: int  # of the stacks
    train_seconds: float
    num_bytes: int  # of the largest stack with its data
    may_be_extended: bool  # by the tuning of some cell


@dataclass(frozen=True)
class _Stack:
    """Replicas that are trained together, as often as `count` says."""

    cell: Cell
    dataset: Dataset
    num_replicas: int
    num_together: int  # replicas of all stacks whose results are put together, and that are trained in turns
    count: int = 1

    @property
    def num_steps(self) -> int:
        """Steps of the stack in all epochs."""
        return self.cell.num_epochs * self.cell.steps_per_epoch(len(self.dataset.train))

    @property
    def kind(self) -> tuple:
        """Equal for stacks that take the same time for a step."""
        cell = self.cell
        activations = tuple(map(repr, cell.activations))
        return (
            *(self.dataset.digest, cell.hidden, activations, repr(cell.loss), cell.choices["optimizer"], cell.bias),
            *(cell.batch_size, cell.weight_decay > 0, cell.clip_norm is None, cell.dtype, cell.diagnostics),
            self.num_replicas,
        )

    @property
    def params_by_layer(self) -> list[int]:
        """Parameters of one replica."""
        sizes = self.cell.layer_sizes(self.dataset.num_features, self.dataset.num_classes)
        return params_by_layer(sizes, bias=self.cell.bias)

    @property
    def work(self) -> float:
        """Multiplications in an epoch, to scale from one kind of stack to another."""
        return self.num_replicas * sum(self.params_by_layer) * len(self.dataset.train)


def only_networks(
    cells: Sequence[Cell | BaselineCell], datasets: Sequence[Dataset]
) -> tuple[list[Cell], list[Dataset]]:
    """Return the cells of networks, which can be tried and counted, with their data."""
    pairs = [
        (cell, dataset) for cell, dataset in zip(cells, datasets, strict=True) if not isinstance(cell, BaselineCell)
    ]
    return [cell for cell, _ in pairs], [dataset for _, dataset in pairs]


def make(cells: Sequence[Cell], datasets: Sequence[Dataset]) -> Plan:
    """Measure what these cells take."""
    cells = [fitted(cell, dataset) for cell, dataset in zip(cells, datasets, strict=True)]
    stacks = [stack for cell, dataset in zip(cells, datasets, strict=True) for stack in _stacks(cell, dataset)]
    return Plan(
        num_cells=len(cells),
        num_trainings=sum(cell.num_trainings() for cell in cells),
        num_steps=sum(stack.num_steps * stack.count for stack in stacks),
        train_seconds=_train_seconds(stacks),
        num_bytes=max((_num_bytes(stack) for stack in stacks), default=0),
        may_be_extended=any(cell.tuning is not None and cell.tuning.max_extensions > 0 for cell in cells),
    )


@dataclass(frozen=True)
class AtOnce:
    """What is trained side by side: cells of a sweep, each in a process, and stacks of a cell, each in a thread."""

    cells: int = 1
    stacks: int = 1


ALONE = AtOnce()


def at_once(cells: Sequence[Cell], datasets: Sequence[Dataset], num_jobs: int, wanted: int | None) -> AtOnce:
    """Return what is trained side by side, of `num_jobs` cells and baselines, on all cores and as far as memory goes.

    `wanted` is a number of cells in place of one for each core. Cells come first: each trains in stacks of full size.
    """
    cells = [fitted(cell, dataset) for cell, dataset in zip(cells, datasets, strict=True)]
    stacks = [stack for cell, dataset in zip(cells, datasets, strict=True) for stack in _stacks(cell, dataset)]
    needed = max((_num_bytes(stack) for stack in stacks), default=0) + OF_A_WORKER
    num_cells = max(1, min(wanted or cores.available(), num_jobs, memory.available() // needed))
    return AtOnce(num_cells, max(1, cores.available() // num_cells))


def fitted(cell: Cell, dataset: Dataset, *, share: int = 1) -> Cell:
    """Return a cell with small stacks, one after the other, if all of them do not fit a share of the memory at once."""
    needed = max(_num_bytes(stack) for stack in _stacks(cell, dataset))
    if cell.stack_size is not None or needed <= memory.available() / share:
        return cell
    return replace(cell, stack_size=fastest_size(cell, dataset))


def too_large(cells: Sequence[Cell], datasets: Sequence[Dataset]) -> list[str]:
    """Return a line for each size of network that does not fit into the memory that this process may use."""
    available = memory.available()
    problems = []
    for cell, dataset in zip(cells, datasets, strict=True):
        needed = max(_num_bytes(stack) for stack in _stacks(fitted(cell, dataset), dataset))
        if needed > available:
            problems.append(
                f"hidden={list(cell.hidden)} on {dataset.name} with {len(cell.seeds)} seeds needs about "
                f"{in_bytes(needed)} of memory, and there is {in_bytes(available)}; lower hidden, num_epochs, seeds "
                "or tuning.num_trials, or train fewer networks at once with stack_size=N"
            )
    return problems


def _stacks(cell: Cell, dataset: Dataset) -> Iterable[_Stack]:
    """Yield the stacks that a cell is trained in: trials, final replicas, untuned ones."""
    counts = {len(cell.seeds): 1}
    if cell.tuning is not None:
        counts = {len(cell.seeds): 2}
        trials = len(cell.tuning.trials(cell.space)) * len(cell.tuning.tuning_seeds)
        counts[trials] = counts.get(trials, 0) + 1
    for num_replicas, count in counts.items():
        size = min(cell.stack_size or fastest_size(cell, dataset), num_replicas)
        whole, rest = divmod(num_replicas, size)
        yield _Stack(cell, dataset, size, num_replicas, count * whole)
        if rest:
            yield _Stack(cell, dataset, rest, num_replicas, count)


def _train_seconds(stacks: Iterable[_Stack]) -> float:
    """Return how long these stacks train: each kind is tried, in any order, as long as there is time for it."""
    seconds_by_kind: dict[tuple, float] = {}  # of an epoch
    tried_work, waited, total = 0.0, 0.0, 0.0
    in_order = list(stacks)
    for place in np.random.default_rng(0).permutation(len(in_order)):  # or all that are tried would have one optimizer
        stack = in_order[place]
        if stack.kind not in seconds_by_kind:
            if waited < PROBE_SECONDS:
                started = perf_counter()
                try:
                    seconds_by_kind[stack.kind] = _epoch_seconds(stack)
                except (Exception, SystemExit) as error:  # it will fail in its own cell, too, and say so there
                    if isinstance(error, SystemExit) and error.code in (128 + signal.SIGTERM, 128 + signal.SIGHUP):
                        raise
                    seconds_by_kind[stack.kind] = 0.0
                waited += perf_counter() - started
                tried_work += stack.work
            else:
                seconds_by_kind[stack.kind] = stack.work * sum(seconds_by_kind.values()) / tried_work
                tried_work += stack.work
        total += seconds_by_kind[stack.kind] * stack.cell.num_epochs * stack.count
    return total


def _epoch_seconds(stack: _Stack) -> float:
    """Return how long an epoch of a stack takes, from some steps on some of the data; a first epoch warms up.

    Nothing is learned meanwhile, so that nothing can diverge and leave the stack.
    """
    cell, train = stack.cell, stack.dataset.train
    affordable = int(PROBE_WORK / (stack.num_replicas * sum(stack.params_by_layer)))  # samples
    if cell.batch_size == "full":
        some = slice(max(affordable, FEWEST_SAMPLES))
    else:
        some = slice(cell.batch_size * min(max(affordable // cell.batch_size, 1), PROBE_STEPS))
    samples = Split(train.inputs[some], train.labels[some])
    with threadpool_limits(1), catch_warnings():  # of which a plugin may make errors, those of MLflow's, too
        tried = replace(cell, num_epochs=2, patience=None, schedule=_standing_still)
        training = start(tried, stack.dataset, range(stack.num_replicas))
        for _ in range(2):
            before = [training.train_seconds, training.evaluation_seconds, _watch_seconds(training)]
            training.run(samples, samples, num_epochs=1)
            after = [training.train_seconds, training.evaluation_seconds, _watch_seconds(training)]
            step_seconds, evaluation_seconds, watch_seconds = np.subtract(after, before).tolist()
            if step_seconds > LONG_EPOCH:
                break
    num_evaluated = len(train) + len(stack.dataset.validation)
    share = len(train) / len(samples)
    return step_seconds * share + evaluation_seconds * num_evaluated / (2 * len(samples)) + watch_seconds


def _standing_still(epoch: float, num_epochs: int) -> float:  # noqa: ARG001 - the signature of a schedule
    return 0.0


def _watch_seconds(training: Training) -> float:
    return 0.0 if training.watch is None else training.watch.seconds


def _num_bytes(stack: _Stack) -> int:
    """Return what a stack and its data need, counted from the arrays of `nnbench.nn`."""
    cell, dataset = stack.cell, stack.dataset
    replicas = stack.num_together if cell.stack_size is None else stack.num_replicas  # in memory at the same time
    item = np.dtype(cell.dtype).itemsize
    sizes = cell.layer_sizes(dataset.num_features, dataset.num_classes)
    num_train = len(dataset.train)
    batch = num_train if cell.batch_size == "full" else min(cell.batch_size, num_train)
    block = min(EVALUATION_BLOCK, num_train)

    optimizer = cell.new_optimizer(np.zeros((1, 1)))
    num_params, units = sum(stack.params_by_layer), 3 * sum(sizes[1:-1]) + sizes[-1]
    # Parameters, gradients, the selected ones and their copy in the result, the optimizer's scratch and state.
    copies = 5 + len(optimizer.state_names) + (0 if cell.diagnostics == "none" else 2) + (cell.weight_decay > 0)
    parameters = copies * replicas * num_params * item + 8 * max(stack.params_by_layer)  # 8: the draws
    buffers = replicas * (batch + 2 * block) * units * item
    shuffled = 0 if cell.batch_size == "full" else replicas * (2 * 8 * num_train + batch * sizes[0] * item)
    outputs = sizes[-1] * (3 * item + 8)  # of a sample, with what the loss makes of it
    stacked = parameters + buffers + shuffled + replicas * max(batch, block) * outputs
    # Small stacks end in one model, which is tested: their selected parameters, its own, and its gradients.
    together = 3 * stack.num_together * num_params * item
    num_test = len(dataset.test)
    tested = len(cell.seeds) * ((4 * num_params + min(EVALUATION_BLOCK, num_test) * units) * item + num_test * outputs)
    data = sum(split.inputs.nbytes for split in (dataset.train, dataset.validation, dataset.test))
    # Every epoch is kept; the table that is written of them is there beside them.
    num_metrics = 7 + (0 if cell.diagnostics == "none" else 4 * (len(cell.hidden) + 1))
    history = 3 * 8 * num_metrics * cell.num_epochs * stack.num_together
    return max(stacked, together, tested) + data + history
