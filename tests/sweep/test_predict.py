"""A single sample and what a logged network takes it for: the numbers of the network, and a line for every fault."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sweep_cases import Place

from nnbench.data import Digits
from nnbench.grid import activation_choices
from nnbench.nn import MLP
from nnbench.places import CONF
from nnbench.sweep import predict
from nnbench.tracking import record

SHORT = ("hidden=[8]", "seeds=2", "num_epochs=3", "report=false", "progress=false")
MOONS = ("dataset=moons", "dataset.num_points=200")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """Networks on images and on a table of two classes with one output, one that diverged, a baseline."""
    place = Place(tmp_path_factory.mktemp("place"))
    loss = "loss=binary_cross_entropy"
    assert place.give("dataset=digits", loss, *SHORT).status == 0
    assert place.give(*MOONS, loss, *SHORT).status == 0
    assert place.give(*MOONS, "optimizer=gd", "optimizer.learning_rate=1e30", *SHORT).status == 0
    assert place.give(*MOONS, "model=dummy", *SHORT[1:2]).status == 0
    return place


def cells(place):
    """Return the records on the disk by what they are."""
    found = [record.read(folder) for folder in record.find(place.folder)]
    return {
        "baseline" if cell.is_baseline else "diverged" if cell.status == "diverged" else cell.choices["dataset"]: cell
        for cell in found
    }


@pytest.fixture(scope="module")
def known(place):
    """Return the run ids of the cells by what they are, and their records."""
    records = cells(place)
    runs = dict(
        place.ask(
            "SELECT mark.value, mark.run_uuid FROM tags mark JOIN tags kind USING (run_uuid) WHERE "
            "mark.key = 'nnbench.fingerprint' AND kind.key = 'nnbench.kind' AND kind.value IN ('cell', 'baseline')"
        )
    )
    return {name: (runs[cell.identity.fingerprint], cell) for name, cell in records.items()}


def shown(ended) -> dict[str, float]:
    """Return the probabilities of the classes that a command has printed."""
    found = re.findall(r"^│ (.+?)(?: \(true\))? +│ .*?([\d.]+)% │$", ended.out, re.MULTILINE)
    return {name: float(number) / 100 for name, number in found}


def probabilities(cell, inputs):
    """Return what the network in the record says of raw inputs, by plain NumPy around it."""
    network = MLP.load(cell.folder / record.NETWORK)
    with np.load(cell.folder / record.MODEL / "scaler.npz") as scaler:
        scaled = (inputs - scaler["offset"]) / scaler["divisor"] + scaler["low"]
    return network.probabilities(np.where(np.isfinite(scaled), scaled, 0))[0]


def test_picture_is_classified_as_the_raw_numbers_it_was_made_of(place, known):
    run_id, cell = known["digits"]
    raw = Digits().read().inputs[:1]
    Image.fromarray(np.rint(255 * raw / 16).reshape(8, 8).astype(np.uint8)).save(place.folder / "digit.png")
    np.save(place.folder / "digit.npy", raw.reshape(8, 8))
    expected = probabilities(cell, raw)[0]
    for name in ("digit.png", "digit.npy"):
        ended = place.give("predict", run_id[:8], name)
        assert (ended.status, ended.err) == (0, f"picture  outputs/predict/{run_id[:8]}_digit.png\n")
        found = shown(ended)
        assert list(found) == [str(label) for label in np.argsort(-expected, kind="stable")]
        np.testing.assert_allclose(list(found.values()), sorted(expected, reverse=True), atol=0.004)
        assert f"{name} is taken for {expected.argmax()}" in ended.out
        assert "does not make its outputs sum to 100 %" in ended.out
    picture = place.folder / f"outputs/predict/{run_id[:8]}_digit.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_a_file_it_is_the_image_that_was_missed_most_often(place, known):
    run_id, cell = known["digits"]
    said = cell.predictions()
    first = int(said.samples[0])
    ended = place.give("predict", run_id, "--output", "mine/a.png")
    assert ended.status == 0
    assert f"test sample {first} of digits is taken for " in ended.out
    assert f"and is {said.labels[first]}" in ended.out
    assert f"│ {said.labels[first]} (true)" in ended.out
    num_missed = (said.predicted[:, first] != said.labels[first]).sum()
    assert f"missed by {num_missed} of 2 seeds" in ended.out
    assert (place.folder / "mine/a.png").exists()
    # The best seed's network says of the image what it said of the sample.
    best = list(said.seeds).index(cell.cell["best_seed"])
    other = int(said.samples[-1])
    assert f"is taken for {said.predicted[best, other]} " in place.give("predict", run_id, f"--sample={other}").out


def test_rows_of_a_table_are_classified_with_a_single_output(place, known):
    run_id, cell = known["moons"]
    rows = np.array([[0.5, 0.25], [1.0, -0.5]])
    names = json.loads((cell.folder / record.MODEL / "names.json").read_text())["features"]
    lines = [names[::-1], *(map(str, row[::-1]) for row in rows)]
    text = "\n".join(map(",".join, lines))
    (place.folder / "points.csv").write_text(text)
    ended = place.give("predict", run_id, "points.csv")
    assert ended.status == 0
    expected = probabilities(cell, rows)
    for number, row in enumerate(expected):
        said = cell.cell["dataset"]["classes"][row.argmax()]
        assert f"points.csv, row {number + 1} is taken for {said}" in ended.out
        assert f"{row.max():.1%}" in ended.out
    assert "sum to 100 %" not in ended.out


def test_run_of_a_seed_is_answered_by_the_best_network_and_that_is_said(place, known):
    run_id, cell = known["digits"]
    best = cell.cell["best_seed"]
    replicas = dict(
        place.ask(
            "SELECT seed.value, seed.run_uuid FROM params seed JOIN tags parent USING (run_uuid) "
            "WHERE seed.key = 'seed' AND parent.key = 'mlflow.parentRunId' AND parent.value = ?",
            run_id,
        )
    )
    for seed, replica in replicas.items():
        ended = place.give("predict", replica)
        assert f"the network of seed {best}" in ended.out
        assert (f"the run is of seed {seed}" in ended.out) == (int(seed) != best)


def test_of_many_rows_the_first_are_shown_and_that_is_said(place, known):
    np.save(place.folder / "many.npy", np.zeros((20, 2)))
    ended = place.give("predict", known["moons"][0], "many.npy")
    assert ended.out.count("is taken for") == predict.MOST_SHOWN
    assert "these are the first 8 of 20 samples" in ended.out


def test_black_on_white_is_said_to_be_the_wrong_way_round_until_it_is_inverted(place, known):
    run_id, _ = known["digits"]
    paper = np.full((24, 24), 255, np.uint8)
    paper[4:20, 10:14] = 0
    Image.fromarray(paper).save(place.folder / "paper.png")
    assert "turn it with --invert" in place.give("predict", run_id, "paper.png").out
    ended = place.give("predict", run_id, "paper.png", "--invert")
    assert "--invert" not in ended.out
    assert "resized from 24 x 24 to 8 x 8 pixels" in ended.out


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("digits", ["--sample=99999"], "--sample is 99999; the record keeps images of"),
        ("digits", ["nothing.png"], "nothing.png does not exist"),
        ("digits", ["nothing.png", "--sample=1"], "both the file nothing.png and --sample 1"),
        ("digits", ["--invert"], "--invert is for a picture"),
        ("digits", ["--output=a.txt"], "it must end in .png"),
        ("digits", ["wrong.npy"], "has the shape (3, 5)"),
        ("moons", [], "moons are no images"),
        ("moons", ["nothing.png"], "give rows of its 2 features"),
        ("moons", ["wrong.npy"], "has the shape (3, 5)"),
        ("diverged", ["wrong.npy"], "diverged, so there is no network"),
        ("baseline", ["wrong.npy"], "is a baseline of scikit-learn"),
    ],
)
def test_each_fault_is_one_line_and_status_2(place, known, name, words, message):
    np.save(place.folder / "wrong.npy", np.zeros((3, 5)))
    ended = place.give("predict", known[name][0], *words)
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_run_that_is_not_there_and_store_that_is_not_there_are_a_line(place, tmp_path):
    assert "has no run 0000" in place.give("predict", "0000", "a.png").err
    ended = Place(tmp_path).give("predict", "0000")
    assert (ended.status, list(tmp_path.iterdir())) == (2, [])
    assert "there is no store" in ended.err


def test_network_that_is_gone_is_a_line_with_the_way_out(place, known):
    run_id, _ = known["moons"]
    ((model_id,),) = place.ask("SELECT model_id FROM logged_models WHERE source_run_id = ?", run_id)
    (network,) = place.folder.glob(f"mlartifacts/nnbench/models/{model_id}/**/network.npz")
    content = network.read_bytes()
    np.save(place.folder / "one.npy", np.zeros(2))

    def ask():
        ended = place.give("predict", run_id, "one.npy")
        network.write_bytes(content)
        assert (ended.status, ended.err.count("\n")) == (2, 1)
        return ended.err

    network.unlink()
    assert "train it again with resume=false" in ask()
    with np.load(network) as arrays:
        foreign = {name: arrays[name] for name in arrays}
    foreign["architecture"] = np.array(str(foreign["architecture"]).replace("ReLU", "TeLU"))
    np.savez(network, **foreign)
    assert "nnbench's own activations" in ask()
    assert place.give("predict", run_id, "one.npy").status == 0


def test_old_record_has_its_shades_from_the_data(known):
    _, cell = known["digits"]
    data = {name: value for name, value in cell.cell["dataset"].items() if name != "shades"}
    old = replace(cell, cell={**cell.cell, "dataset": data})
    assert predict._shades(old, activation_choices([CONF])) == pytest.approx((0, 16), abs=1e-5)
    assert predict._shades(cell, {}) == pytest.approx((0, 16), abs=1e-5)


def test_name_of_a_file_is_written_without_what_a_terminal_obeys_or_cannot_write(place, known):
    run_id, _ = known["digits"]
    name = os.fsdecode(b"caf\xe9 \x1b[31m.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(place.folder / name)
    ended = place.give("predict", run_id[:8], name)
    assert ended.status == 0
    assert "caf [31m.png is taken for" in ended.out
    assert re.search(rf"outputs/predict/{run_id[:8]}_caf____31m_\w{{8}}\.png\n", ended.err)
