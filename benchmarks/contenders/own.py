"""nnbench itself: a stack of replicas, by its own clock, which leaves out the evaluation after each epoch."""

from contenders.problem import Problem
from nnbench import nn
from nnbench.data import Split
from nnbench.nn import Training

NUM_VALIDATION = 32  # evaluated beside the clock; nothing is selected here


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
