"""The grid of a command line: its cells, and every problem with them before the first one starts."""

from itertools import chain

import pytest
from command_line import SIGN, cells_and_data, cells_of, grid_of, problems_of

from nnbench import app
from nnbench.components import ConfigError
from nnbench.protocol.fingerprint import fingerprint
from nnbench.settings import clipped

WRITE = "write KEY=VALUE, lists as KEY=[A,B], and text with special characters as 'KEY=\"TEXT\"'"
REFUSED = {
    "optimizer.learning_rat=1": (
        "optimizer.learning_rat is not an option of optimizer=adam; "
        "known are beta1, beta2, epsilon, learning_rate, space; did you mean learning_rate?"
    ),
    "optimizer.momentum=0.5": (
        "optimizer.momentum is not an option of optimizer=adam; known are beta1, beta2, epsilon, learning_rate, space"
    ),
    "loss.low=0": "loss.low is not an option of loss=softmax_cross_entropy; it has none",
    "tuning.trials=3": "tuning.trials is not an option of tuning=none; it has none",
    "activation=relo": (
        "activation is relo, which is not one of its choices; "
        "known are identity, leaky_relu, relu, sigmoid, tanh; did you mean relu?"
    ),
    "optimizer=": (
        "optimizer is , which is not one of its choices; "
        "known are adagrad, adam, adamw, gd, momentum, nesterov, rmsprop, rprop"
    ),
    "hidden=[32": f"hidden=[32 cannot be read: no viable alternative at input '[32'; {WRITE}",
    "adam": "adam is neither a command nor KEY=VALUE; known are predict, report, status, studies, sync, ui, verify",
    "reprot": (
        "reprot is neither a command nor KEY=VALUE; known are predict, report, status, studies, sync, ui, verify; "
        "did you mean report?"
    ),
    "dataset.path=ä.csv": f"dataset.path=ä.csv cannot be read: token recognition error at: 'ä'; {WRITE}",
    "~seeds": "~seeds deletes a key; set it to another value instead",
    "~optimizer": "optimizer is missing",
    "layer_activations=[1]": (
        "layer_activations is [1]; it must be a list of activations, one for each hidden layer, or null"
    ),
    "optimizer=adam,gd": "optimizer has several values, which is a sweep; add -m: python -m nnbench -m ...",
    "num_epochs=1,2": "num_epochs has several values, which is a sweep; add -m: python -m nnbench -m ...",
}  # fmt: skip


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.mark.parametrize("override", REFUSED)
def test_a_bad_override_is_refused(override):
    assert REFUSED[override] in problems_of(override)


@pytest.mark.parametrize("override", ["=1", "seeds=", "study=null", "study=no_such", "hydra/launcher=no_such", "a=1"])
def test_an_odd_override_is_refused_in_one_line(override):
    assert len(problems_of(override)) == 1


def test_a_misspelt_key_is_refused_with_the_nearest():
    (line,) = problems_of("optimiser=adam")

    assert line.startswith("optimiser is not a key of the configuration; known are about, activation, ")
    assert line.endswith("; did you mean optimizer?")


def test_all_problems_are_told_at_once():
    overrides = ["batch_size=0", "optimizer.learning_rate=-1", "hidden=[0]", "num_epochs=0", "seeds=[1,1]"]
    overrides += ["dtype=float16", "dataset.num_samples=0", "optimiser=adam", "activation=relo"]

    keys = {line.split()[0] for line in problems_of(*overrides)}

    assert keys == {override.partition("=")[0] for override in overrides}


def test_missing_values_are_named_with_the_way_to_give_them():
    assert problems_of("dataset=csv") == [
        "dataset.path is missing; set it with dataset.path=VALUE",
        "dataset.target is missing; set it with dataset.target=VALUE",
    ]


@pytest.mark.parametrize("form", ["", "+", "++"])
def test_no_class_from_elsewhere_gets_in_by_any_form_of_override(form):
    groups = ("optimizer", "dataset", "activation", "loss", "initializer", "schedule")

    problems = problems_of(*(f"{form}{group}._target_=subprocess.Popen" for group in groups))

    if form == "+":  # adds a key that is there
        assert {line.split()[0] for line in problems} == {f"+{group}._target_" for group in groups}
        return
    assert {line.split()[0] for line in problems} == {f"{group}._target_" for group in groups}
    assert all(line.split()[2] == "'subprocess.Popen';" for line in problems)


@pytest.mark.parametrize(
    "override",
    [
        "+anything._target_=os.system",
        "+anything={_target_:os.system}",
        "+optimizer.inner._target_=os.system",
        "+optimizer.inner={_target_:os.system}",
        "optimizer.learning_rate={_target_:os.system}",
        "optimizer={_target_:os.system}",
        "+model._target_=os.system",
        "+tuning._target_=os.system",
        "+tracking._target_=os.system",
    ],
)
def test_a_class_in_a_place_of_its_own_is_refused(override):
    assert len(problems_of(override)) == 1


def test_an_option_of_another_optimizer_in_one_cell_is_refused():
    assert problems_of("-m", "optimizer=adam,gd", "optimizer.beta1=0.8") == [
        "optimizer.beta1 is not an option of optimizer=gd; known are learning_rate, space"
    ]


def test_every_bad_choice_of_a_sweep_is_named():
    problems = problems_of("-m", "optimizer=adam,adma,rmsprob", "activation=relu,relo")

    assert [line.split()[2].strip(",") for line in problems] == ["relo", "adma", "rmsprob"]


@pytest.mark.parametrize("key", ["tracking=none,mlflow", "study=xor,xor", "resume=true,false", "+tracking.uri=a,b"])
def test_what_cells_have_in_common_is_not_swept(key):
    assert "the cells of a sweep have it in common" in problems_of("-m", key)[0]


@pytest.mark.parametrize(
    "place", ["hydra.run.dir=x", "hydra.sweep.dir=x", "hydra.sweep.subdir=x", "hydra.job.chdir=true"]
)
def test_records_stay_where_they_are_found(place):
    (line,) = problems_of(place)

    assert line.startswith(f"{place.partition('=')[0]} is fixed, because records are found by it")


def test_a_sweep_over_nothing_is_refused():
    assert problems_of("-m", "seeds=range(3,1)") == [
        "the sweep has no cell; one of its keys has an empty range of values"
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("length,species\n1,a\nx,b\n", "length"),
        ("length,species\n1,a\n2,a\n3,a\n", "'a'"),
        ("length,species\n1\n", "row 1"),
        ("length,kind\n1,a\n2,b\n", "species"),
        ("", "table.csv"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_before_the_start(tmp_path, table, said):
    path = tmp_path / "table.csv"
    path.write_text(table)

    (line,) = problems_of("dataset=csv", f"dataset.path={path}", "dataset.target=species")

    assert str(path) in line
    assert said in line


def test_every_table_that_cannot_be_used_is_told(tmp_path):
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]

    problems = problems_of("-m", "dataset=csv", f"dataset.path={paths[0]},{paths[1]}", "dataset.target=species")

    assert problems == [f"{path} does not exist; set dataset.path to a file" for path in paths]


def test_a_config_dir_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^--config-dir is .*; it must be a folder"):
        grid_of("--config-dir", str(tmp_path / "nowhere"))


def test_cells_are_the_cross_product_in_the_order_of_the_command():
    jobs = grid_of("-m", "optimizer=rmsprop,adam", "activation=relu,sigmoid").jobs

    assert [job.label for job in jobs] == ["rmsprop relu", "rmsprop sigmoid", "adam relu", "adam sigmoid"]
    assert [(job.choices["optimizer"], job.choices["activation"]) for job in jobs] == [
        tuple(job.label.split()) for job in jobs
    ]


def test_values_reach_the_cells():
    (cell,) = cells_of("optimizer=momentum", "optimizer.momentum=0.5", "hidden=[8,4]", "seeds=[3,1]", "batch_size=full")

    assert cell.new_optimizer.keywords == {"learning_rate": 0.01, "momentum": 0.5}
    assert (cell.hidden, cell.seeds, cell.batch_size) == ((8, 4), (3, 1), "full")
    assert len(cell.activations) == 2


def test_a_count_of_seeds_is_the_seeds_from_zero():
    assert [cell.seeds for cell in cells_of("-m", "seeds=3,[0,1,2]")] == [(0, 1, 2)] * 2


def test_layers_may_differ_in_their_activation():
    (cell,) = cells_of("hidden=[8,4]", "layer_activations=[tanh,leaky_relu]")

    assert [type(activation).__name__ for activation in cell.activations] == ["Tanh", "LeakyReLU"]


def test_the_last_of_equal_keys_counts():
    assert cells_of("num_epochs=1", "num_epochs=2")[0].num_epochs == 2


def test_a_study_is_a_sweep_by_itself_and_the_command_line_narrows_it():
    study, with_flag = grid_of("study=xor"), grid_of("-m", "study=xor")
    narrowed, widened = grid_of("study=xor", "optimizer=gd"), grid_of("study=xor", "num_epochs=1,2")

    assert study.multirun
    assert [job.label for job in study.jobs] == ["gd leaky_relu", "nesterov leaky_relu"]
    assert [job.config for job in with_flag.jobs] == [job.config for job in study.jobs]
    assert [job.label for job in narrowed.jobs] == ["gd leaky_relu"]
    assert len(widened.jobs) == 4


def test_the_command_line_wins_over_a_study():
    (job,) = grid_of("study=xor", "optimizer=gd", "hidden=[4]", "optimizer.learning_rate=0.5").jobs

    assert (job.config["hidden"], job.config["optimizer"]["learning_rate"]) == ([4], 0.5)
    assert job.config["batch_size"] == 200  # the study's
    assert (job.study, job.experiment) == ("xor", "xor")


@pytest.mark.parametrize("name", ["plain", "a b", "a,b (ü)", 'it\'s [1] = "one"', "#{1}"])
def test_a_config_dir_adds_choices_wherever_it_is(tmp_path, monkeypatch, name):
    (tmp_path / "mine.py").write_text(SIGN)
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / name / "optimizer" / "sign.yaml", "_target_: mine.Sign\nlearning_rate: 0.001\n")
    write(tmp_path / name / "activation" / "steep.yaml", "_target_: nnbench.nn.LeakyReLU\nnegative_slope: 0.5\n")

    arguments = ["--config-dir", str(tmp_path / name), "optimizer=sign", "plugins=[mine]", "hidden=[8,8]"]
    (by_group,), (by_layer,) = (
        cells_of(*arguments, one) for one in ("activation=steep", "layer_activations=[steep,relu]")
    )

    assert by_group.new_optimizer.func.__name__ == "Sign"
    assert by_group.activations[0].negative_slope == 0.5
    assert by_layer.activations[0] == by_group.activations[0]


def test_a_choice_that_would_not_be_taken_is_refused(tmp_path):
    write(tmp_path / "optimizer" / "adam.yaml", "_target_: nnbench.nn.GD\n")

    with pytest.raises(ConfigError, match=r"adam\.yaml has the name of a choice of nnbench; rename it"):
        grid_of("--config-dir", str(tmp_path))


def test_glob_finds_own_choices_as_hydra_does(tmp_path):
    write(tmp_path / "activation" / "steep.yaml", "_target_: nnbench.nn.LeakyReLU\nnegative_slope: 0.5\n")

    jobs = grid_of("--config-dir", str(tmp_path), "-m", "activation=glob(s*)").jobs

    assert [job.choices["activation"] for job in jobs] == ["sigmoid", "steep"]


@pytest.mark.parametrize("override", ["optimizer=shuffle(adam,gd)", "seeds=shuffle([1,2])", "seeds=sort(shuffle(1,2))"])
def test_an_order_that_differs_each_time_is_refused_because_jobs_are_known_by_their_number(override):
    assert problems_of("-m", override) == [f"{override} has another order each time it is read; leave out shuffle"]


@pytest.mark.parametrize("text", ["range(1000000)", "range(0,1,0.0000001)", "range(0,inf)"])
def test_a_sweep_of_more_cells_than_can_be_planned_is_refused_at_once(text):
    assert problems_of("-m", f"optimizer.learning_rate={text}") == [
        "the sweep has more than 10000 cells; sweep fewer values"
    ]


def test_an_interval_is_refused_with_what_to_write_instead():
    (line,) = problems_of("-m", "optimizer.learning_rate=interval(0,1)")

    assert line.endswith("name those to train, such as optimizer.learning_rate=0.1,0.01")


@pytest.mark.parametrize("text", ["range(1,5,0)", "range(0,nan)", "interval(0,1)"])
def test_a_range_that_is_none_is_refused_in_one_line(text):
    assert len(problems_of("-m", f"optimizer.learning_rate={text}")) == 1


@pytest.mark.parametrize("group", ["activation", "model"])
@pytest.mark.parametrize("content", ["a: [", "- 1\n", "\x00", "a: ${b}\n"], ids=["unfinished", "list", "null", "key"])
def test_a_file_that_cannot_be_read_is_named_though_it_is_not_chosen(tmp_path, group, content):
    write(tmp_path / group / "own.yaml", content)

    problems = problems_of("--config-dir", str(tmp_path), "baselines=[knn]")

    if content.startswith("a: $") and group == "model":  # whose options may be those of the networks
        assert problems == []
        return
    (line,) = problems
    assert "own.yaml" in line or "${" in content


@pytest.mark.parametrize("group", ["study", "setting"])
def test_a_file_that_sets_keys_of_its_own_is_told_how_to_begin(tmp_path, group):
    write(tmp_path / group / "bare.yaml", "num_epochs: 2\n")

    assert problems_of("--config-dir", str(tmp_path), f"{group}=bare") == [
        f"{group} has no options; the file of a {group} must begin with the line # @package _global_"
    ]


def test_a_batch_larger_than_the_training_split_is_the_whole_of_it_with_one_warning():
    pairs = cells_and_data("-m", "batch_size=32,5000,full", "optimizer=adam,gd")

    assert clipped(*zip(*pairs, strict=True)) == [
        "batch_size is 5000 but the training split of digits has 1437 samples; each step takes all 1437 of them"
    ]


def test_a_table_may_move_but_not_change_to_be_the_same_setting(tmp_path):
    def mark(path):
        grid = grid_of("dataset=csv", f"dataset.path={path}", "dataset.target=species")
        ((job,), (cell,)) = grid.jobs, app._cells(grid)
        return fingerprint(job.config, cell.source.load().digest, grid.activation_choices)

    here, elsewhere = tmp_path / "table.csv", tmp_path / "copy.csv"
    here.write_text("length,species\n" + "1,a\n2,b\n" * 50)
    elsewhere.write_bytes(here.read_bytes())
    before = mark(here)

    assert mark(elsewhere) == before
    here.write_text(here.read_text().replace("2,b", "3,b", 1))
    assert mark(here) != before


def test_a_row_of_a_table_is_in_one_split_only(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("row,species\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(200)))

    ((_, dataset),) = cells_and_data(
        "dataset=csv", f"dataset.path={path}", "dataset.target=species", "dataset.scaling=none"
    )

    rows = [split.inputs.ravel().astype(int).tolist() for split in (dataset.train, dataset.validation, dataset.test)]
    assert sorted(chain(*rows)) == list(range(200))
    assert [len(part) for part in rows] == [160, 20, 20]
