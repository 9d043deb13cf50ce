"""A cell's label tells it from every other cell of its sweep, in as few words as possible."""

from itertools import product

import pytest

from nnbench.protocol.naming import data_labels, differing_settings, flat_settings, labels


def cell(optimizer="adam", activation="relu", /, *, dataset="digits", **changes):
    """Return the flat settings of a resolved configuration, written as Hydra would give them."""
    config = {
        "seeds": 10,
        "hidden": [32],
        "weight_decay": 0.0,
        "layer_activations": None,
        "progress": True,
        "optimizer": {"_target_": f"nnbench.nn.{optimizer}", "learning_rate": 0.001},
        "activation": {"_target_": f"nnbench.nn.{activation}"},
        "dataset": {"_target_": f"nnbench.data.{dataset}", "split_seed": 0},
        "loss": {"_target_": "nnbench.nn.MeanSquaredError"},
        "study": None,
        "tracking": {"uri": None},
    }
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    choices = {"optimizer": optimizer, "activation": activation, "dataset": dataset, "loss": "mean_squared_error"}
    return flat_settings(config, choices)


def test_a_cell_alone_is_called_by_optimizer_and_activation():
    assert labels([cell()]) == ["adam relu"]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([cell("adam"), cell("gd")], ["adam relu", "gd relu"]),
        ([cell(dataset="iris"), cell(dataset="wine")], ["adam relu iris", "adam relu wine"]),
        (
            [cell(optimizer={"learning_rate": 0.1}), cell(optimizer={"learning_rate": 0.01})],
            ["adam relu learning_rate=0.1", "adam relu learning_rate=0.01"],
        ),
        (
            [cell(seeds=3), cell(seeds=[1, 2]), cell(seeds=[1, 3])],
            ["adam relu seeds=3", "adam relu seeds=[1,2]", "adam relu seeds=[1,3]"],
        ),
        ([cell(hidden=[]), cell(hidden=[8, 8])], ["adam relu hidden=[]", "adam relu hidden=[8,8]"]),
        (
            [cell(layer_activations=["relu", "tanh"]), cell(layer_activations=["tanh", "relu"])],
            ["adam relu+tanh", "adam tanh+relu"],
        ),
        (
            [cell(layer_activations=None), cell(layer_activations=["relu"])],
            ["adam relu layer_activations=None", "adam relu layer_activations=[relu]"],
        ),
        (
            [cell(hidden=[8], weight_decay=0.1), cell(hidden=[4], weight_decay=0.2)],
            ["adam relu hidden=[8] weight_decay=0.1", "adam relu hidden=[4] weight_decay=0.2"],
        ),
        (
            [cell("gd", optimizer={"learning_rate": 0.1}), cell("gd", optimizer={"learning_rate": 1.0}), cell("adam")],
            ["gd relu learning_rate=0.1", "gd relu learning_rate=1", "adam relu"],
        ),
    ],
)
def test_cells_are_called_by_what_they_differ_in(cells, wanted):
    assert labels(cells) == wanted


def test_options_of_the_same_name_are_told_apart():
    slopes = [(0.1, 0.2), (0.2, 0.1)]

    cells = [
        cell("adam", "leaky_relu", activation={"negative_slope": hidden}, loss={"negative_slope": output})
        for hidden, output in slopes
    ]

    assert labels(cells) == [
        f"adam leaky_relu activation.negative_slope={hidden} loss.negative_slope={output}" for hidden, output in slopes
    ]


def test_output_options_are_no_part_of_a_name():
    assert labels([cell(progress=True), cell(progress=False)]) == ["adam relu"] * 2


def test_equal_settings_have_equal_names():
    assert labels([cell(), cell("gd"), cell()]) == ["adam relu", "gd relu", "adam relu"]


def test_a_grid_of_everything_has_different_names():
    axes = ("adam", "gd"), ("relu", "tanh"), ("iris", "wine"), (3, [7]), ([], [8]), (0.1, 0.2)

    cells = [
        cell(optimizer, activation, dataset=dataset, seeds=seeds, hidden=hidden, optimizer={"learning_rate": rate})
        for optimizer, activation, dataset, seeds, hidden, rate in product(*axes)
    ]

    assert len({*labels(cells)}) == 2 ** len(axes)


def test_flat_settings_name_a_group_by_its_choice_and_its_options_below_it():
    flat = cell("gd")

    assert flat["optimizer"] == "gd"
    assert flat["optimizer.learning_rate"] == 0.001
    assert "study" not in flat


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ([("wine", "a", {"split_seed": 0}), ("iris", "b", {"split_seed": 0})], ["wine", "iris"]),
        ([("wine", "a", {"split_seed": 0})] * 2, ["wine", "wine"]),
        (
            [("wine", "a", {"split_seed": 0}), ("wine", "b", {"split_seed": 1}), ("iris", "c", {"split_seed": 1})],
            ["wine split_seed=0", "wine split_seed=1", "iris"],
        ),
        ([("t", "a", {"path": "x/t.csv"}), ("t", "b", {"path": "y/t.csv"})], ["t path=x/t.csv", "t path=y/t.csv"]),
        ([("t", "a", {"path": "t.csv"}), ("t", "b", {"path": "t.csv"}), ("t", "a", {})], ["t", "t (2)", "t"]),
    ],
)
def test_data_are_called_by_their_name_and_by_what_tells_test_splits_of_it_apart(data, wanted):
    assert data_labels(data) == wanted


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([cell("adam", optimizer={"learning_rate": 0.1}), cell("gd", optimizer={"learning_rate": 1.0})], []),
        ([cell("adam"), cell("adam", "tanh", optimizer={"learning_rate": 1.0})], ["optimizer.learning_rate"]),
        ([cell(), cell("gd", hidden=[64])], ["hidden"]),
        ([cell() | {"loss": "softmax_cross_entropy"}, cell("gd") | {"loss": "mean_squared_error"}], ["loss"]),
        ([cell(), cell("gd", seeds=3, target_accuracy=0.9, progress=True)], []),
        ([cell(dataset="iris"), cell("gd", dataset="wine")], []),
    ],
)
def test_settings_differ_where_a_difference_may_come_from_them(cells, wanted):
    assert differing_settings(cells) == wanted
