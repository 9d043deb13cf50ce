"""A training that is stopped, saved and continued elsewhere equals one that goes through, bit for bit."""

import numpy as np
import pytest
from nn_cases import OPTIMIZERS, UNBOUNDED, assert_same_bits, blobs, build_training, family, outcome

from nnbench import nn

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
    training = build_training("gd", [0])
    training.save(tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        arrays = dict(file)
    np.savez(tmp_path / "state.npz", **arrays, more=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        training.restore(tmp_path / "state.npz")


def test_state_of_another_network_is_refused(tmp_path):
    build_training("gd", [0]).save(tmp_path / "state.npz")
    for other in (built("gd"), build_training("gd", [0, 1]), build_training("gd", [0], dtype=np.float64)):
        with pytest.raises(ValueError, match="holds another network"):
            other.restore(tmp_path / "state.npz")


def test_state_of_another_optimizer_is_refused(tmp_path):
    build_training("adam", [0]).save(tmp_path / "state.npz")
    with pytest.raises(ValueError, match="was trained with Adam; this training has RMSprop"):
        build_training("rmsprop", [0]).restore(tmp_path / "state.npz")
