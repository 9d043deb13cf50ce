"""A training that is stopped, saved and continued elsewhere equals one that goes through, bit for bit."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pytest
from nn_cases import OPTIMIZERS, UNBOUNDED, assert_same_bits, blobs, build_training, family, outcome

from nnbench import nn
from nnbench.nn.saving import read_arrays, write_arrays

TRAIN, VALIDATION = blobs(23), blobs(9, seed=1)
NUM_EPOCHS = 5


def built(optimizer, *, dtype=np.float32, prepare=None, **settings):
    """Build a training of four replicas with a schedule, a penalty and a learning rate for each replica."""
    rates = family("optimizer")[optimizer].options["learning_rate"] * np.array([[1.0], [0.5], [2.0], [1.5]])
    defaults = {
        "num_epochs": NUM_EPOCHS,
        "options": {"learning_rate": rates},
        "schedule": nn.Cosine(final=0.1),
        "weight_decay": 0.01,
        "clip_norm": 2.0,
    }
    return build_training(optimizer, range(4), prepare=prepare, dtype=dtype, **defaults | UNBOUNDED | settings)


def overflow_second(model):
    model.params[1] *= 1e30 if model.params.dtype == np.float32 else 1e300


def scramble(model):
    """A fresh training need not start where the stopped one did: nothing of its own beginning may remain."""
    model.params[:] = 7


def stopped_and_continued(path, optimizer, stops, *, prepare=None, **settings):
    training = built(optimizer, prepare=prepare, **settings)
    for stop in stops:
        training.run(TRAIN, VALIDATION, num_epochs=stop - training.epoch)
        training.save(path)
        training = built(optimizer, prepare=scramble, **settings)
        training.restore(path)
        assert training.epoch == stop
    training.run(TRAIN, VALIDATION)
    return training


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [5, "full"])
def test_stopping_and_continuing_equals_going_through(tmp_path, optimizer, dtype, batch_size):
    settings = {"dtype": dtype, "batch_size": batch_size, "prepare": overflow_second}
    through = built(optimizer, **settings)
    through.run(TRAIN, VALIDATION)
    assert through.diverged_step.tolist() == [-1, 0, -1, -1]
    for stops in ([0], [1], [4], [1, 2, 4], [NUM_EPOCHS]):
        continued = stopped_and_continued(tmp_path / "state.npz", optimizer, stops, **settings)
        assert_same_bits(outcome(continued), outcome(through))


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_replica_may_diverge_before_or_after_the_stop(tmp_path, stop):
    rates = np.array([[0.01], [30.0], [1.3], [0.02]])
    settings = {"options": {"learning_rate": rates}, "schedule": None, "clip_norm": None}
    through = built("gd", **settings)
    through.run(TRAIN, VALIDATION)
    assert through.diverged.tolist() == [False, True, True, False]
    assert 0 < through.diverged_step[1] < through.diverged_step[2]
    continued = stopped_and_continued(tmp_path / "state.npz", "gd", [stop], **settings)
    assert_same_bits(outcome(continued), outcome(through))


def test_continued_training_goes_on_with_the_best_so_far(tmp_path):
    settings = {"selection": "best", "options": {"learning_rate": 0.5}}
    through = built("gd", **settings)
    through.run(TRAIN, VALIDATION)
    continued = stopped_and_continued(tmp_path / "state.npz", "gd", [3], **settings)
    assert (through.selected_epoch < NUM_EPOCHS).any()
    assert_same_bits(outcome(continued), outcome(through))


def test_continued_training_keeps_its_history_and_its_clock(tmp_path):
    stopped, continued = built("adam"), built("adam")
    stopped.run(TRAIN, VALIDATION, num_epochs=2)
    stopped.save(tmp_path / "state.npz")
    continued.restore(tmp_path / "state.npz")
    assert continued.history.keys() == stopped.history.keys()
    for name, values in stopped.history.items():
        np.testing.assert_array_equal(continued.history[name], values)
    assert continued.train_seconds == stopped.train_seconds > 0
    continued.run(TRAIN, VALIDATION)
    assert (np.diff(continued.history["time/train_seconds"], axis=0) > 0).all()


def test_saving_changes_nothing(tmp_path):
    through, saving = built("adam"), built("adam")
    through.run(TRAIN, VALIDATION)
    saving.run(TRAIN, VALIDATION, on_epoch=lambda done: done.save(tmp_path / "state.npz"))
    assert_same_bits(outcome(saving), outcome(through))


def test_training_that_has_ended_stays_as_it_is(tmp_path):
    training = built("adam")
    training.run(TRAIN, VALIDATION)
    before = outcome(training)
    training.run(TRAIN, VALIDATION)
    training.run(TRAIN, VALIDATION, num_epochs=3)
    assert_same_bits(outcome(training), before)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_file_holds_arrays_and_json_alone(tmp_path, optimizer):
    training = built(optimizer, prepare=overflow_second)
    training.run(TRAIN, VALIDATION, num_epochs=2)
    training.save(tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiU" for name in file.files)


def test_training_file_with_a_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "state.npz", plain=np.array([print], dtype=object))
    content = (tmp_path / "state.npz").read_bytes()
    (tmp_path / "state.npz").write_bytes(content + hashlib.sha256(content).hexdigest().encode())
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        build_training("gd", [0]).restore(tmp_path / "state.npz")


def everything(training):
    """Return all that a training holds, as text."""
    rngs = [rng.bit_generator.state for rng in training.rngs]
    arrays = {name: (values.dtype, values.tolist()) for name, values in training._arrays().items()}
    numbers = {name: getattr(training, name) for name in training._number_names}
    return repr((arrays, rngs, numbers, training.history, training.watch.seconds))


def refuse(path, training, match, **options):
    before = everything(training)
    with pytest.raises(ValueError, match=match):
        training.restore(path, **options)
    assert everything(training) == before


@pytest.mark.parametrize("kept", [0, 1, "half", "all but one", "all"])
def test_damaged_state_is_refused_and_changes_nothing(tmp_path, kept):
    path = tmp_path / "state.npz"
    saved = built("adam", prepare=overflow_second)
    saved.run(TRAIN, VALIDATION, num_epochs=2)
    saved.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content[: {"half": len(content) // 2, "all but one": -1, "all": None}.get(kept, kept)])
    refuse(path, built("adam"), match="is damaged")


def altered(path, change):
    """Change a state and write it with a checksum that holds; `change` gets its arrays and its JSON."""
    arrays = read_arrays(path)
    plain = json.loads(str(arrays["plain"]))
    change(arrays, plain)
    write_arrays(path, arrays | {"plain": np.array(json.dumps(plain))})


ODD = {
    "without_params": lambda arrays, plain: arrays.pop("params"),
    "without_start": lambda arrays, plain: arrays.pop("start_params"),
    "without_state_of_the_optimizer": lambda arrays, plain: arrays.pop("optimizer/weighted_sum"),
    "without_a_hyperparameter": lambda arrays, plain: arrays.pop("optimizer/beta1"),
    "without_a_number": lambda arrays, plain: plain.pop("num_steps"),
    "without_a_generator": lambda arrays, plain: plain["rngs"].pop(),
    "generator_of_another_kind": lambda arrays, plain: plain["rngs"][0].update(bit_generator="MT19937"),
    "fewer_params": lambda arrays, plain: arrays.update(params=arrays["params"][:, :-1]),
    "state_of_fewer_replicas": lambda arrays, plain: arrays.update(
        {"optimizer/weighted_sum": arrays["optimizer/weighted_sum"][:-1]}
    ),
    "params_of_another_type": lambda arrays, plain: arrays.update(params=arrays["params"].astype(np.float64)),
    "epoch_of_another_type": lambda arrays, plain: arrays.update(best_epoch=arrays["best_epoch"] + 0.5),
    "history_of_fewer_epochs": lambda arrays, plain: arrays.update({"history/val/loss": np.ones((1, 4))}),
    "replica_that_is_not_there": lambda arrays, plain: arrays.update(active=np.array([0, 2, 9])),
    "replica_twice": lambda arrays, plain: arrays.update(active=np.array([0, 2, 2])),
}


@pytest.mark.parametrize("change", ODD)
def test_odd_state_is_refused_and_changes_nothing(tmp_path, change):
    path = tmp_path / "state.npz"
    saved = built("adam", prepare=overflow_second)
    saved.run(TRAIN, VALIDATION, num_epochs=2)
    saved.save(path)
    altered(path, lambda arrays, plain: None)
    built("adam").restore(path)
    altered(path, ODD[change])
    refuse(path, built("adam"), match="is not the state of such a training .*; delete it")


def test_arrays_of_someone_else_are_refused_and_change_nothing(tmp_path):
    write_arrays(tmp_path / "state.npz", {"weights": np.ones(3)})
    refuse(tmp_path / "state.npz", built("adam"), match="is of another training")


def test_state_that_belongs_to_another_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    built("adam").save(path, identity="mine")
    refuse(path, built("adam"), match="its identity is mine; wanted is yours", identity="yours")
    refuse(path, built("adam"), match="its identity is mine; wanted is ")
    built("adam").restore(path, identity="mine")


def test_state_is_not_restored_into_a_training_that_has_begun(tmp_path):
    training = built("adam")
    training.run(TRAIN, VALIDATION, num_epochs=1)
    training.save(tmp_path / "state.npz")
    refuse(tmp_path / "state.npz", training, match="has done 1 epochs; build a new one")


def test_continued_training_keeps_the_seconds_of_its_diagnostics(tmp_path):
    stopped, continued = built("adam", diagnostics="full"), built("adam", diagnostics="full")
    stopped.run(TRAIN, VALIDATION, num_epochs=2)
    stopped.save(tmp_path / "state.npz")
    continued.restore(tmp_path / "state.npz")
    assert continued.watch.seconds == stopped.watch.seconds > 0


# Optimizers of the user's own, which keep more than they tell.


class Hidden(nn.Momentum):
    """Steps that depend on attributes of every kind, of which `state_names` names none."""

    def __init__(self, params, *, learning_rate=0.1):
        super().__init__(params, learning_rate=learning_rate)
        self.betas = (0.9, 0.5)
        self.memory = np.zeros((2, *params.shape), params.dtype)
        self.phase = "odd"
        self.last_factor = None
        self.count = 0

    def step(self, grads, factor=1.0):
        self.count += 1
        self.memory[1] *= self.betas[0]
        self.memory[1] += grads
        self.memory[0] += self.memory[1]
        if self.count == 7:
            self.seen_later = np.abs(grads)
        later = getattr(self, "seen_later", 1.0)
        self.size = np.float32(0.5) * getattr(self, "size", np.float32(1)) + grads.dtype.type(0.1) * later
        self.size = self.size.mean()  # one number for all: a NumPy scalar, not a Python one
        scale = 0.5 if self.phase == "odd" else 1 / (1 + (self.last_factor or 0))
        self.phase = "even" if self.phase == "odd" else "odd"
        self.last_factor = factor
        super().step(scale * self.memory[0] * self.size / (1 + self.count), factor)


def with_optimizer(build, *, num_epochs=4, **settings):
    training = build_training("gd", range(3), num_epochs=num_epochs, **settings)
    training.optimizer = build(training.model.params)
    return training


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_state_that_an_optimizer_does_not_tell_of_is_saved_all_the_same(tmp_path, stop):
    through, stopped, continued = (with_optimizer(Hidden) for _ in range(3))
    through.run(TRAIN, VALIDATION)
    stopped.run(TRAIN, VALIDATION, num_epochs=stop)
    stopped.save(tmp_path / "state.npz")
    continued.restore(tmp_path / "state.npz")
    for name, value in vars(stopped.optimizer).items():
        assert type(getattr(continued.optimizer, name)) is type(value), name
    continued.run(TRAIN, VALIDATION)
    assert_same_bits(outcome(continued), outcome(through))
    assert not np.array_equal(outcome(with_optimizer(Hidden))["params"], outcome(through)["params"])


class WithList(nn.GD):
    def step(self, grads, factor=1.0):
        self.past = [*getattr(self, "past", [])[-1:], grads.copy()]
        super().step(sum(self.past), factor)


class WithGenerator(nn.GD):
    def step(self, grads, factor=1.0):
        self.noise = getattr(self, "noise", np.random.default_rng(0))
        super().step(grads + self.noise.standard_normal(grads.shape).astype(grads.dtype), factor)


class WithObjects(nn.GD):
    def step(self, grads, factor=1.0):
        self.objects = np.array([grads, None], dtype=object)
        super().step(grads, factor)


@pytest.mark.parametrize(
    ("build", "name"), [(WithList, "past is a list"), (WithGenerator, "noise is a Gen"), (WithObjects, "objects is a")]
)
def test_state_that_cannot_be_saved_is_not_left_out_in_silence(tmp_path, build, name):
    training = with_optimizer(build)
    training.run(TRAIN, VALIDATION, num_epochs=1)
    with pytest.raises(TypeError, match=f"{build.__name__} cannot be saved: {name}.*; keep state in arrays"):
        training.save(tmp_path / "state.npz")
    assert not list(tmp_path.iterdir())


class WithView(nn.Momentum):
    def step(self, grads, factor=1.0):
        self.first = self.velocity[:, :3]
        super().step(grads, factor)


class WithGradients(nn.GD):
    def step(self, grads, factor=1.0):
        self.previous = grads  # not a copy: the next gradients will be there
        super().step(grads, factor)


@pytest.mark.parametrize(
    ("build", "names"),
    [(WithView, "optimizer/velocity and optimizer/first"), (WithGradients, "optimizer/previous and grads")],
)
def test_state_that_shares_memory_is_not_saved_apart_in_silence(tmp_path, build, names):
    training = with_optimizer(build)
    training.run(TRAIN, VALIDATION, num_epochs=1)
    with pytest.raises(TypeError, match=f"{names} share memory.*; make one a copy"):
        training.save(tmp_path / "state.npz")
    assert not list(tmp_path.iterdir())


class WithListThatItSaves(WithList):
    def state(self):
        return {"num_steps": np.array(self.num_steps), "past": np.array(getattr(self, "past", []))}

    def restore(self, state):
        self.num_steps = int(state["num_steps"])
        self.past = list(state["past"])


def test_optimizer_that_saves_its_state_itself_is_trusted(tmp_path):
    through, stopped, continued = (with_optimizer(WithListThatItSaves) for _ in range(3))
    through.run(TRAIN, VALIDATION)
    stopped.run(TRAIN, VALIDATION, num_epochs=2)
    stopped.save(tmp_path / "state.npz")
    continued.restore(tmp_path / "state.npz")
    continued.run(TRAIN, VALIDATION)
    assert_same_bits(outcome(continued), outcome(through))


class Plateau:
    """A schedule that remembers what it was asked before."""

    def __init__(self):
        self.num_calls = 0

    def __call__(self, epoch, num_epochs):
        self.num_calls += 1
        return 1 / self.num_calls


@dataclass
class Thawed:
    """The same as a dataclass that is not frozen."""

    num_calls: int = 0

    def __call__(self, epoch, num_epochs):
        self.num_calls += 1
        return 1 / self.num_calls


@pytest.mark.parametrize("schedule", [Plateau, Thawed])
def test_schedule_that_remembers_is_not_left_out_in_silence(tmp_path, schedule):
    training = built("gd", schedule=schedule())
    with pytest.raises(TypeError, match=f"{schedule.__name__} may change while it trains.*; make it a frozen"):
        training.save(tmp_path / "state.npz")
    assert not list(tmp_path.iterdir())


def test_state_of_another_network_is_refused(tmp_path):
    build_training("gd", [0]).save(tmp_path / "state.npz")
    for other in (built("gd"), build_training("gd", [0, 1]), build_training("gd", [0], dtype=np.float64)):
        with pytest.raises(ValueError, match=r"its network is .*; wanted is"):
            other.restore(tmp_path / "state.npz")


def test_state_of_another_optimizer_is_refused(tmp_path):
    build_training("adam", [0]).save(tmp_path / "state.npz")
    with pytest.raises(ValueError, match="its optimizer is Adam; wanted is RMSprop"):
        build_training("rmsprop", [0]).restore(tmp_path / "state.npz")
