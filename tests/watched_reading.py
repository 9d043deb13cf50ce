"""A process that reads sound files, then malicious ones in their place, and notes what only code could have done.

It trains a cell in the current folder, writes a file of each other kind beside it, and prints JSON: for each reader how
many files it took and how many it refused, errors other than its own, what was done that must not be, and, so that this
means something, what is noted when a payload does run.
"""

import gzip
import hashlib
import io
import json
import marshal
import os
import pickle
import struct
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from nnbench.__main__ import in_this_process as command_line
from nnbench.data import CSV, MNIST, NPZ, DataError, Parquet, Scaler, raw
from nnbench.grid import activation_choices
from nnbench.nn import MLP, Adam, He, ReLU, SoftmaxCrossEntropy, Training, spawn_rngs
from nnbench.places import CONF
from nnbench.sweep import predict
from nnbench.tracking import record, served_model, trained

PAYLOAD = Path("payload-ran").absolute()
COMMAND = f"touch '{PAYLOAD}'"
NEVER = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "socket.connect",
)
NOT_OF_FILES = ("exec", "marshal.loads", "import")  # happens whenever a module is imported


class Payload:
    """Something that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (COMMAND,)


done: list[str] = []
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note an event that only code from a file can have caused; an error here would be caught by who reads."""
    if watching and (event in NEVER or (event in NOT_OF_FILES and PAYLOAD.name in " ".join(map(told, arguments)))):
        done.append(f"{event} {arguments}"[:300])


def told(argument: Any) -> str:
    """Return what an argument of an event says, of code all that it holds."""
    if isinstance(argument, CodeType):
        return f"{argument.co_filename} {' '.join(map(told, argument.co_consts))}"
    return str(argument)


@contextmanager
def watched() -> Iterator[None]:
    """Look at what happens inside."""
    global watching
    watching = True
    try:
        yield
    finally:
        watching = False


def payloads() -> list[bytes]:
    """Return files that run a command in whoever trusts them."""
    statement = f"import os; os.system({COMMAND!r})"
    pickles = [pickle.dumps(Payload(), protocol) for protocol in (0, 2, pickle.HIGHEST_PROTOCOL)]
    packed, array = io.BytesIO(), io.BytesIO()
    joblib.dump(Payload(), packed, compress=3)
    np.save(array, np.array([Payload()] * 4, dtype=object), allow_pickle=True)
    yaml = f'!!python/object/apply:os.system ["{COMMAND}"]'
    postscript = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n({PAYLOAD}) (w) file closefile\n"
    texts = [
        statement,
        yaml,
        f"key: {yaml}",
        json.dumps({"py/reduce": [{"py/function": "os.system"}, COMMAND]}),
        postscript,
    ]
    code = marshal.dumps(compile(statement, "payload", "exec"))
    return [*pickles, *map(gzip.compress, pickles), packed.getvalue(), array.getvalue(), code,
            *(text.encode() for text in texts), archive(["inputs", "labels"])]  # fmt: skip


def archive(names: list[str], *, bare: bool = False) -> bytes:
    """Return an archive of NumPy whose members are pickles, in an array of objects or bare."""
    array = io.BytesIO()
    np.save(array, np.array([Payload()], dtype=object), allow_pickle=True)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        for name in names:
            members.writestr(f"{name}.npy", pickle.dumps(Payload()) if bare else array.getvalue())
    return file.getvalue()


def disguised(content: bytes) -> Iterator[bytes]:
    """Yield what looks like a sound file of its kind, and has pickles where that kind has something to be read."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            names = [name.removesuffix(".npy") for name in members.namelist()]
        yield archive(names)
        yield archive(names, bare=True)
    if content.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(content))
        for extension in (b"arrow.py_extension_type", b"pandas.period", b"arrow.opaque"):
            notes = {b"ARROW:extension:name": extension, b"ARROW:extension:metadata": pickle.dumps(Payload())}
            fields = [field.with_metadata(notes) for field in table.schema]
            file = io.BytesIO()
            schema = pa.schema(fields, {b"pandas": pickle.dumps(Payload(), 0)})
            pq.write_table(pa.Table.from_arrays(table.columns, schema=schema), file)
            yield file.getvalue()
    if content.startswith(b"\x93NUMPY"):
        header = b"{'descr': __import__('os').system(%r), 'fortran_order': False, 'shape': (1,)}\n" % COMMAND.encode()
        yield b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    if content.startswith(b"{"):  # JSON, or what YAML takes for it
        yield (
            json.dumps(json.loads(content))
            .replace('": ', f'": !!python/object/apply:os.system ["{COMMAND}"], "', 1)
            .encode()
        )


def training() -> Training:
    """Return a training as the checkpoint has it."""
    initial, order = spawn_rngs(0)
    model = MLP((2, 3, 2), activations=[ReLU()], loss=SoftmaxCrossEntropy())
    model.initialize(He(), [initial])
    return Training(model, Adam(model.params), [order], num_epochs=3)


def write_sound_files(folder: Path) -> None:
    """Write a file of each kind that the command has not left behind."""
    numbers, labels, images = np.arange(40.0), np.arange(40) % 4, np.zeros((40, 3, 4), np.uint8)
    table = pa.table({"x": numbers, "kind": [f"kind {label}" for label in labels]})
    (folder / "mnist").mkdir(parents=True)
    rows = "\n".join(f"{row},kind {row % 4}" for row in range(40))
    (folder / "a.csv").write_text(f"x,kind\n{rows}\n")
    (folder / "rows.csv").write_text("x\n1\n2\n")
    pq.write_table(table, folder / "a.parquet")
    np.savez(folder / "a.npz", inputs=numbers.reshape(-1, 1), labels=labels)
    np.save(folder / "a.npy", numbers.reshape(-1, 1))
    np.save(folder / "digit.npy", np.zeros(64))
    Image.fromarray(images[0]).save(folder / "a.png")
    training().save(folder / "checkpoint.npz")
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
            (folder / "mnist" / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))


def read_record(folder: Path) -> None:
    """Read all that there is in the record of a cell, whatever one of its files is; raise what the first raised."""
    cell = record.read(folder)
    model = SimpleNamespace(artifacts={"model": folder / record.MODEL})
    errors = []
    for read in (
        *(cell.replicas, cell.untuned, cell.tuning, cell.history, cell.confusion, cell.calibration),
        *(cell.predictions, cell.samples, cell.environment),
        lambda: MLP.load(folder / record.NETWORK),
        lambda: Scaler.load(folder / record.MODEL / "scaler.npz"),
        lambda: served_model.Network().load_context(model),
    ):
        try:
            read()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]


def seal(folder: Path) -> None:
    """Make the manifest of a record that of what the folder holds now."""
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_in(folder)}
    del contents[record.MANIFEST]
    facts = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    (folder / record.MANIFEST).write_text(json.dumps(facts))


def files_in(place: Path) -> list[Path]:
    """Return the file, or the files of a folder."""
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


def readers(place: Path) -> dict[str, tuple[Path, type[Exception], Callable[[Path], Any]]]:
    """Return by name a file or a folder, the error for what cannot be read, and what reads it."""
    files = place / "files"
    (folder,) = record.find(place)
    run_id = json.loads((folder.parent / record.PUBLISHED).read_text())["run_id"]
    (network,) = (place / "mlartifacts").rglob("network.npz")
    uri, choices, fetched = f"sqlite:///{place / 'mlflow.db'}", activation_choices([CONF]), place / "fetched"
    fetched.mkdir()

    def ask(_: Path) -> None:
        predict.predict(uri, run_id, choices, path=files / "digit.npy")

    return {
        "csv": (files / "a.csv", DataError, lambda path: CSV(path=path, target="kind").load()),
        "parquet": (files / "a.parquet", DataError, lambda path: Parquet(path=path, target="kind").load()),
        "npz": (files / "a.npz", DataError, lambda path: NPZ(path=path).load()),
        "idx": (files / "mnist", DataError, lambda path: MNIST(root=path).load()),
        "rows": (files / "rows.csv", DataError, lambda path: raw.read_rows(path, ("x",))),
        "array": (files / "a.npy", DataError, lambda path: raw.read_array(path, 1, None)),
        "picture": (files / "a.png", DataError, lambda path: raw.read_picture(path, (3, 4), invert=False)),
        "checkpoint": (files / "checkpoint.npz", Exception, lambda path: training().restore(path)),
        "record": (folder, Exception, read_record),
        "network": (network.parent, Exception, lambda _: trained.fetch(uri, run_id, fetched)),
        "prediction": (network, predict.CannotPredictError, ask),
    }


def train() -> None:
    """Leave the record of a cell behind, and a store that has its network."""
    sys.argv = ["nnbench", "dataset=digits", "hidden=[4]", "seeds=2", "num_epochs=1", "report=false", "progress=false"]
    with redirect_stdout(sys.stderr):
        status = command_line()
    if status:
        sys.exit(status)


def noted_when_it_runs() -> list[str]:
    """Return what is noted when someone trusts a payload, and forget it."""
    with watched():
        pickle.loads(pickle.dumps(Payload()))
        exec(compile(f"text = {str(PAYLOAD)!r}", "a file", "exec"))
        exec(marshal.loads(marshal.dumps(compile(f"text = {str(PAYLOAD)!r}", "a file", "exec"))))
    PAYLOAD.unlink()
    noted = [event.split()[0] for event in done]
    done.clear()
    return noted


def main() -> None:
    """Read everything, as it is and then with each file replaced."""
    place = Path.cwd()
    train()
    write_sound_files(place / "files")
    sys.addaudithook(watch)
    noted, wrong = noted_when_it_runs(), []
    found: dict[str, Counter[str]] = {}
    for name, (target, expected, read) in readers(place).items():
        with watched():
            read(target)
        counts = found[name] = Counter(sound=1)
        for path in files_in(target):
            sound = path.read_bytes()
            for content in (*payloads(), *disguised(sound)):
                path.write_bytes(content)
                if name == "record" and path.name != record.MANIFEST:
                    seal(target)
                try:
                    with watched():
                        read(target)
                    counts["taken"] += 1
                except expected:
                    counts["refused"] += 1
                except Exception as error:
                    wrong.append(f"{name}: {error!r}"[:300])
            path.write_bytes(sound)
            if name == "record":
                seal(target)
    result = {"found": found, "wrong": wrong, "done": done, "noted": noted, "ran": PAYLOAD.exists()}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
