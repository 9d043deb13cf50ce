"""nnbench itself: a stack of replicas, by its own clock, which leaves out the evaluation after each epoch."""

from contenders.problem import Problem
from nnbench import nn
from nnbench.data import Split
from nnbench.nn import Training
from nnbench.protocol.stack import PARAMS_OF_A_STACK

NUM_VALIDATION = 32  # evaluated beside the clock; nothing is selected here


class Divided:
    """Replicas in stacks of the size that the protocol chooses, trained in turns; each stack has the first seeds."""

    def __init__(self, problem: Problem, *, num_replicas: int):
        self.num_replicas = num_replicas
        size = max(1, PARAMS_OF_A_STACK // problem.new_model(1).params.size)
        sizes = [size] * (num_replicas // size) + [num_replicas % size] * (num_replicas % size > 0)
        self.stacks = [Own(problem, num_replicas=each) for each in sizes]

    def train_epoch(self) -> float:
        """Take every step of an epoch; return the seconds of it."""
        return sum(stack.train_epoch() for stack in self.stacks)

    def loss(self) -> float:
        """Return the training loss of the first replica."""
        return self.stacks[0].loss()


class Own:
    """A stack with one of nnbench's optimizers; what diagnostics cost is on the clock, too."""

    def __init__(self, problem: Problem, *, num_replicas: int, optimizer: str = "Adam", diagnostics: str = "none"):
        self.num_replicas = num_replicas
        self.train = Split(problem.inputs, problem.labels)
        self.validation = Split(problem.inputs[:NUM_VALIDATION], problem.labels[:NUM_VALIDATION])
        model = problem.new_model(num_replicas)
        self.training = Training(
            model,
            getattr(nn, optimizer)(model.params),
            problem.order_rngs(num_replicas),
            num_epochs=1_000_000,  # more than are ever asked for
            batch_size=problem.batch_size,
            diagnostics=diagnostics,
        )

    def train_epoch(self) -> float:
        """Take every step of an epoch; return the seconds of it."""
        before = self._seconds()
        self.training.run(self.train, self.validation, num_epochs=1)
        return self._seconds() - before

    def loss(self) -> float:
        """Return the training loss of the first replica."""
        return float(self.training.history["train/loss"][-1, 0])

    def _seconds(self) -> float:
        watch = self.training.watch
        return self.training.train_seconds + (0.0 if watch is None else watch.seconds)
