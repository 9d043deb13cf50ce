"""The MLP as its users meet it: predictions, files, errors."""

import json
import sys

import numpy as np
import pytest
from nn_cases import ACTIVATIONS, LOSSES, SOFTMAX_CROSS_ENTROPY, WITH_BIASES, blobs

from nnbench import nn


def drawn(*, sizes=(5, 7, 4, 3), activations=None, loss=SOFTMAX_CROSS_ENTROPY, num_replicas=3, **options):
    activations = [nn.ReLU()] * (len(sizes) - 2) if activations is None else activations
    model = nn.MLP(sizes, activations=activations, loss=loss, num_replicas=num_replicas, **options)
    model.initialize(WITH_BIASES, [nn.spawn_rngs(seed)[0] for seed in range(num_replicas)])
    return model


# Predictions.


def test_forward_is_the_formula_layer_by_layer():
    model = drawn(activations=[nn.Tanh(), nn.ReLU()], dtype=np.float64)
    inputs = blobs(6, dtype=np.float64).inputs
    for replica in range(3):
        (w1, w2, w3), (b1, b2, b3) = ([part[replica] for part in parts] for parts in (model.weights, model.biases))
        wanted = np.maximum(np.tanh(inputs @ w1 + b1) @ w2 + b2, 0) @ w3 + b3
        np.testing.assert_allclose(model.forward(inputs)[replica], wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_prediction_of_one_sample_equals_that_among_many(loss, num_classes):
    loss = LOSSES[loss]
    model = drawn(sizes=(5, 7, loss.num_outputs(num_classes)), loss=loss)
    inputs = blobs(40).inputs
    labels, probabilities = model.predict(inputs), model.probabilities(inputs)
    assert labels.shape == (3, 40)
    assert probabilities.shape == (3, 40, num_classes)
    for place, sample in enumerate(inputs):
        np.testing.assert_array_equal(model.predict(sample), labels[:, place])
        np.testing.assert_array_equal(model.predict(sample[np.newaxis]), labels[:, [place]])
        np.testing.assert_allclose(model.probabilities(sample), probabilities[:, place], rtol=1e-4, atol=1e-6)


def test_prediction_does_not_depend_on_the_number_of_samples_beyond_a_block():
    model = drawn(dtype=np.float64)
    inputs = blobs(2600, dtype=np.float64).inputs
    parts = np.concatenate([model.logits(inputs[:1000]), model.logits(inputs[1000:])], axis=1)
    np.testing.assert_allclose(model.logits(inputs), parts, rtol=1e-12)


def test_predictions_take_lists_and_other_number_types():
    model = drawn()
    wanted = model.predict(np.ones((2, 5), np.float32))
    np.testing.assert_array_equal(model.predict([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]), wanted)
    np.testing.assert_array_equal(model.predict(np.ones((2, 5), np.uint8)), wanted)
    assert model.predict(np.ones((0, 5))).shape == (3, 0)


def test_logits_are_an_array_of_their_own():
    model = drawn()
    logits = model.logits(blobs(4).inputs)
    kept = logits.copy()
    model.logits(blobs(4, seed=1).inputs)
    np.testing.assert_array_equal(logits, kept)


@pytest.mark.parametrize("method", ["predict", "probabilities"])
@pytest.mark.parametrize("shape", [(4,), (3, 6), (2, 3, 5), (), (5, 1)])
def test_inputs_of_the_wrong_shape_are_refused(method, shape):
    message = rf"the inputs have shape {shape}; the model takes \(5,\) or \(samples, 5\)".replace(
        "e (", r"e \("
    ).replace("); t", r"\); t")
    with pytest.raises(ValueError, match=message):
        getattr(drawn(), method)(np.zeros(shape))


def test_parameters_are_one_array_and_layers_are_views_of_it():
    model = drawn()
    assert model.params.shape == (3, 6 * 7 + 8 * 4 + 5 * 3)
    assert model.params.flags.c_contiguous
    for part in (*model.weights, *model.biases):
        assert np.shares_memory(part, model.params)
    for part in (*model.weight_grads, *model.bias_grads):
        assert np.shares_memory(part, model.grads)
    ends = [(part.start, part.stop) for part in model.layer_slices]
    assert ends == [(0, 42), (42, 74), (74, 89)]
    np.testing.assert_array_equal(model.params[:, 42:70].reshape(3, 7, 4), model.weights[1])


def test_penalty_is_half_the_decay_times_the_squared_weights_without_biases():
    model = nn.MLP((2, 1), activations=[], loss=nn.BinaryCrossEntropy(), num_replicas=2)
    model.params[:] = [[1, 2, 10], [3, 0, 10]]
    np.testing.assert_allclose(model.penalty(0.5), [1.25, 2.25])
    model.add_weight_decay(0.5)
    np.testing.assert_allclose(model.grads, [[0.5, 1, 0], [1.5, 0, 0]])


@pytest.mark.parametrize(
    ("sizes", "activations", "message"),
    [
        ((5,), [], r"layer_sizes is \[5\]; it must be two or more sizes of at least 1"),
        ((5, 0, 3), [nn.ReLU()], r"layer_sizes is \[5, 0, 3\]"),
        ((5, 4, 3), [], "there are 0 activations for 1 hidden layers; give one for each"),
        ((5, 3), [nn.ReLU()], "there are 1 activations for 0 hidden layers"),
    ],
)
def test_impossible_architectures_are_refused(sizes, activations, message):
    with pytest.raises(ValueError, match=message):
        nn.MLP(sizes, activations=activations, loss=SOFTMAX_CROSS_ENTROPY)


# Files.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no_biases"])
@pytest.mark.parametrize("loss", LOSSES)
def test_saved_model_is_the_same_model_when_loaded(tmp_path, loss, bias, dtype):
    loss, activations = LOSSES[loss], list(ACTIVATIONS.values())
    sizes = (5, *[4] * len(activations), loss.num_outputs(3))
    model = drawn(sizes=sizes, activations=activations, loss=loss, bias=bias, dtype=dtype)
    model.save(tmp_path / "model.npz")
    loaded = nn.MLP.load(tmp_path / "model.npz")
    assert loaded.architecture() == model.architecture()
    assert loaded.activations == model.activations
    assert loaded.loss == model.loss
    np.testing.assert_array_equal(loaded.params, model.params, strict=True)
    inputs = blobs(7).inputs
    np.testing.assert_array_equal(loaded.probabilities(inputs), model.probabilities(inputs))


def test_diverged_parameters_survive_the_file(tmp_path):
    model = drawn()
    model.params[1] = np.resize([np.nan, np.inf, -np.inf], model.params.shape[-1])
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(nn.MLP.load(tmp_path / "model.npz").params, model.params)


def check_file_holds_no_pickle(path):
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiU" for name in file.files)


def test_model_file_holds_arrays_and_json_alone(tmp_path):
    drawn().save(tmp_path / "model.npz")
    check_file_holds_no_pickle(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert json.loads(str(file["architecture"]))["layer_sizes"] == [5, 7, 4, 3]


def test_pickled_weights_are_revealed(tmp_path):
    np.savez(tmp_path / "model.npz", weights=np.array([np.zeros((2, 3)), np.zeros(3)], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        check_file_holds_no_pickle(tmp_path / "model.npz")


def test_model_file_with_a_pickle_is_refused(tmp_path):
    architecture = np.array(json.dumps(drawn().architecture()))
    np.savez(tmp_path / "model.npz", architecture=architecture, params=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        nn.MLP.load(tmp_path / "model.npz")


class Doubled(nn.Identity):
    def __call__(self, z, value, slope):
        np.multiply(z, 2, out=value)
        slope.fill(2)


def test_own_activation_is_loaded_by_naming_its_class(tmp_path):
    model = drawn(activations=[Doubled(), nn.ReLU()])
    model.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"'Doubled', which nnbench does not have; pass extra={'Doubled': its class}"):
        nn.MLP.load(tmp_path / "model.npz")
    loaded = nn.MLP.load(tmp_path / "model.npz", extra={"Doubled": Doubled})
    np.testing.assert_array_equal(loaded.logits(blobs(3).inputs), model.logits(blobs(3).inputs))


@pytest.mark.parametrize("part", ["activation", "loss"])
@pytest.mark.parametrize(
    "name", ["planted", "planted.Kind", "os.system", "np", "sqrt", "dataclass", "Activation", "MLP", ""]
)
def test_unknown_class_name_is_refused_and_imports_nothing(tmp_path, monkeypatch, part, name):
    (tmp_path / "planted.py").write_text("from nnbench.nn import Identity as Kind\n")
    monkeypatch.syspath_prepend(tmp_path)
    architecture = drawn().architecture()
    if part == "activation":
        architecture["activations"][0] = {"name": name}
    else:
        architecture["loss"] = {"name": name}
    path = tmp_path / "model.npz"
    np.savez(path, architecture=np.array(json.dumps(architecture)), params=drawn().params)
    with np.load(path, allow_pickle=False) as file:
        assert file["params"].size  # NumPy has now imported what it imports late
    modules = set(sys.modules)
    with pytest.raises(ValueError, match=f"the model uses '{name}', which nnbench does not have; pass extra="):
        nn.MLP.load(path)
    assert set(sys.modules) == modules


def test_file_of_another_format_is_refused():
    model = drawn()
    with pytest.raises(ValueError, match="the model's format is 'nnbench-mlp-9'; this version reads 'nnbench-mlp-1'"):
        nn.MLP.from_architecture(model.architecture() | {"format": "nnbench-mlp-9"}, model.params)


@pytest.mark.parametrize("changed", [lambda params: params[:, :-1], lambda params: params.astype(np.float64)])
def test_parameters_that_do_not_fit_the_architecture_are_refused(changed):
    model = drawn()
    with pytest.raises(
        ValueError, match=r"the parameters are \(3, \d+\) float\d+; the architecture needs \(3, 89\) float32"
    ):
        nn.MLP.from_architecture(model.architecture(), changed(model.params))
