"""Whatever stands in a name, nothing is written outside the working folder, and the name itself is kept as it is."""

import os
import re
import unicodedata

import pytest
from command_line import grid_of, problems_of, records, run

from nnbench.__main__ import in_this_process
from nnbench.tracking import record, store
from nnbench.tracking.publish import publish

NAMES = {
    "composed": unicodedata.normalize("NFC", "Größe"),
    "emoji": "\U0001f600\U0001f389",
    "300 characters": "x" * 300,
    "device": "CON",
    "trailing dot": "name.",
    "trailing space": "name ",
    "leading dash": "-x",
    "dots": "..",
    "up": "../../x",
    "up, as on Windows": r"..\..\x",
    "absolute": "/etc/x",
    "home": "~",
    "somebody's home": "~root/x",
    "variable": "$HOME",
    "escaped": "%2e%2e%2fx",
    "query": "?x=1#y",
    "pattern": "*[a-z]?",
    "grammar": "a,b=[c]",
    "shell": "a'b\"c`touch P`$(touch P);touch P",
    "markup": "<script>alert(1)</script>",
    "null": "a\0b",
    "line": "a\nb",
    "terminal": "\x1b[31mred\x07",
    "right to left": "\u202egnp.exe",
    "separator": "a\u2028b\x85c",
    "no width": "a\u200bb",
}
SURROGATE = "a\udc80b"  # what Python makes of a byte that is no UTF-8
OF_FILES = {key: name for key, name in NAMES.items() if not {"/", "\0"} & {*name} and len(name) < 200}
QUOTABLE = {key: name for key, name in OF_FILES.items() if not {"\\", "'"} & {*name}}  # as they stand
PRINTABLE = [name for name in QUOTABLE.values() if name.isprintable()]
UNPRINTABLE = [name for name in QUOTABLE.values() if not name.isprintable()]
TINY = ("dataset=iris", "hidden=[]", "seeds=1", "num_epochs=1", "progress=false", "baselines=[]", "report=false")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the working folder, some levels deep, so that a name that leads upwards leads into the test's folder."""
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield folder
    assert [*tmp_path.iterdir(), *(tmp_path / "a").iterdir(), *(tmp_path / "a" / "b").iterdir()] == [
        tmp_path / "a",
        tmp_path / "a" / "b",
        folder,
    ]


@pytest.fixture
def give(monkeypatch, capsys):
    """Return what gives a command line and returns its status and what it wrote to both streams."""

    def give(*arguments):
        monkeypatch.setattr("sys.argv", ["nnbench", *arguments])
        try:
            status = in_this_process()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return give


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_names_of_own_choices_are_kept_to_the_letter(folder, give):
    names = PRINTABLE[:-4:2] + PRINTABLE[-1:]  # training takes its time
    for number, name in enumerate(names):
        write(folder / f"D/optimizer/{name}.yaml", f"_target_: nnbench.nn.GD\nlearning_rate: {number + 1}.0e-3\n")
    chosen = ",".join(f"'{name}'" for name in names)

    status, _, error = give("--config-dir", "D", "-m", f"optimizer={chosen}", *TINY, "tracking=none")

    assert status == 0, error
    (sweep,) = (folder / "multirun").iterdir()
    assert {entry.choices["optimizer"] for entry in records(sweep).values()} == {*names}
    assert {path.name for path in folder.iterdir()} == {"D", "multirun", ".nnbench"}


def test_a_working_folder_that_hydra_would_take_for_another_is_refused(tmp_path, monkeypatch):
    place = tmp_path / "${oc.env:HOME}"
    place.mkdir()
    monkeypatch.chdir(place)
    (line,) = problems_of("dataset=iris")
    assert line.startswith(f"the current folder is {place}, whose ${{ has a meaning")


@pytest.mark.parametrize("group", ["optimizer", "setting", "activation"])
def test_names_that_would_spoil_the_screen_are_refused(group, folder):
    for name in UNPRINTABLE:
        write(folder / f"D/{group}/{name}.yaml", "_target_: nnbench.nn.GD\n")
    chosen = ",".join(f"'{name}'" for name in UNPRINTABLE)

    lines = problems_of("--config-dir", "D", "-m", f"{group}={chosen}")

    said = f"{group} is {{!a}}, which has characters that cannot be printed; rename its file"
    assert {said.format(name) for name in UNPRINTABLE} <= {*lines}


def test_a_name_of_bytes_that_are_no_text_is_refused(folder, give):
    write(folder / f"D/optimizer/{SURROGATE}.yaml", "_target_: nnbench.nn.GD\n")
    write(folder / f"{SURROGATE}.csv", "x,species\n" + "1,a\n2,b\n" * 50)
    table = ("dataset=csv", f"dataset.path='{SURROGATE}.csv'", "dataset.target=species")

    for arguments in (["--config-dir", "D", f"optimizer='{SURROGATE}'"], table, [f"tracking.experiment='{SURROGATE}'"]):
        status, _, error = give(*arguments, "tracking=mlflow")
        assert status == 2
        assert r"\udc80" in error
    assert {path.name for path in folder.iterdir()} == {"D", f"{SURROGATE}.csv"}


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "../optimizer/adam", "..", "", "~"])
def test_a_choice_is_one_of_its_group_and_no_path(name, folder):
    groups = ("study", "setting", "optimizer", "activation", "dataset")
    for place in ("D/x.yaml", "x.yaml"):
        write(folder / place, "# @package _global_\nnum_epochs: 1\n")

    lines = problems_of("--config-dir", "D", *(f"{group}='{name}'" for group in groups))

    assert [line.partition("; ")[0] for line in lines] == [
        f"{group} is {name}, which is not one of its choices" for group in groups
    ]


def test_pictures_of_tables_stay_where_they_belong(folder, give):
    names = [name for name in QUOTABLE.values() if not name.startswith("~")]  # which is somebody's home
    for name in names:
        write(folder / f"{name}.csv", "x,species\n" + "1,a\n2,b\n" * 50)
    tables = ",".join(f"'./{name}.csv'" for name in names)

    status, _, error = give("-m", "dataset=csv", f"dataset.path={tables}", "dataset.target=species", "inspect=true")

    assert status == 0, error
    assert {path.name for path in folder.iterdir() if path.suffix != ".csv"} == {"outputs"}
    pictures = [path for path in (folder / "outputs").rglob("*") if path.is_file()]
    assert {path.parent for path in pictures} == {folder / "outputs/inspect"}
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+\.png", path.name) for path in pictures)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """Return the folder of a record."""
    place = tmp_path_factory.mktemp("cell")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("sys.argv", ["nnbench", *TINY, "tracking=none"])
        assert in_this_process() == 0
    (found,) = record.find(place)
    return found


def test_experiments_keep_their_names_and_their_artifacts_stay_below_the_store(folder, cell):
    uri = store.resolve(None)
    names = [name for name in NAMES.values() if not re.fullmatch(r"[\w$%.~\s-]{,20}", name)] + ["..", "~"]
    for name in names:
        store.prepare(uri, name)
        publish(cell, uri, name)

    found = {entry.name for entry in store.client(uri).search_experiments()} - {"Default"}
    assert found == {*names}
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlflow.db.lock", "mlartifacts"}
    places = [path.name for path in (folder / "mlartifacts").iterdir()]
    assert len(places) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in places)


def test_names_that_look_the_same_are_one_experiment():
    composed, decomposed = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))
    jobs = [grid_of(f"tracking.experiment='{name}'").jobs[0] for name in (composed, decomposed)]

    assert composed != decomposed
    assert [job.experiment for job in jobs] == [composed] * 2


def test_what_names_a_study_or_a_sweep_is_no_path_and_no_query(folder, cell, give):
    store.prepare(None, "nnbench")
    publish(cell, None, "nnbench")
    before = sorted(folder.rglob("*"))

    for name in [*NAMES.values(), "x' OR '1'='1"]:
        if name.startswith("-") or "\0" in name:
            continue  # an option, and what no command line can hold
        for command in ("status", "report"):
            assert give(command, "nnbench", "--sweep", name)[0] == 3
            assert give(command, name, "--sweep", name)[0] == 3
        for command in ("verify", "predict"):
            assert give(command, name)[0] == 2
    assert sorted(folder.rglob("*")) == before


def test_a_working_folder_and_an_output_folder_behind_links_are_used(folder, give, monkeypatch):
    (folder / "real").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "link").symlink_to("real")
    (folder / "real" / "outputs").symlink_to(folder / "elsewhere")
    monkeypatch.chdir(folder / "link")

    status, _, error = give(*TINY, "tracking=none")

    assert status == 0, error
    assert len(list((folder / "elsewhere").glob("*/record"))) == 1
    assert sorted(path.name for path in (folder / "real").iterdir()) == [".nnbench", "outputs"]


def test_folder_whose_name_is_no_text_is_refused_in_a_line_before_anything_is_trained(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    ended = run(folder, "-m", "dataset=iris", "optimizer=gd,adam", "num_epochs=1", "seeds=1", "tracking=none")
    assert ended.status == 2
    assert "which is no text in UTF-8; work in another folder" in ended.err
    assert list(folder.iterdir()) == []
