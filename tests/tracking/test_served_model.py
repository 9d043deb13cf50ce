"""The logged model: the network itself, for raw samples, made of arrays and JSON, served as MLflow serves."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import mlflow
import numpy as np
import pandas as pd
import pytest
from tracking_cases import rows

from nnbench.tracking.publish import publish


@pytest.fixture(scope="module")
def logged(iris, digits, empty_database, tmp_path_factory):
    """The folder of a published model by data set."""
    folder = tmp_path_factory.mktemp("models")
    database = folder / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    for trained in (iris, digits):
        name = trained.dataset.name
        publish(trained.write(folder / name), f"sqlite:///{database}", name)
    places = rows(
        database, "SELECT e.name, m.artifact_location FROM logged_models m JOIN experiments e USING (experiment_id)"
    )
    return {name: folder / place.removeprefix(f"{folder.as_uri()}/") for name, place in places}


def expected_of(trained) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Return raw samples, the best replica's probabilities, its classes by name, and how raw samples were loaded."""
    raw = trained.cell.source.read().inputs
    best = trained.result.model.with_params(trained.result.model.params[[trained.result.final.best_replica]])
    inputs = trained.dataset.scaler(raw, best.params.dtype)
    return raw, best.probabilities(inputs)[0], [trained.dataset.class_names[k] for k in best.predict(inputs)[0]], inputs


def test_model_classifies_raw_rows_with_named_columns(logged, iris):
    raw, probabilities, classes, _ = expected_of(iris)
    frame = pd.DataFrame(raw, columns=list(iris.dataset.feature_names))
    answer = mlflow.pyfunc.load_model(str(logged["iris"])).predict(frame[frame.columns[::-1]])  # names, not places
    assert list(answer["class"]) == classes
    assert len(set(classes)) > 1
    names = [f"probability of {name}" for name in iris.dataset.class_names]
    np.testing.assert_allclose(answer[names].to_numpy(), probabilities, rtol=1e-5)


def test_model_classifies_raw_images(logged, digits):
    raw, _, classes, _ = expected_of(digits)
    answer = mlflow.pyfunc.load_model(str(logged["digits"])).predict(raw.astype(np.float64))
    assert list(answer["class"]) == classes
    truth = [digits.dataset.class_names[label] for label in digits.cell.source.read().labels]
    assert np.mean(answer["class"] == truth) > 0.8


def test_signature_says_what_goes_in_and_comes_out(logged, iris, digits):
    table = mlflow.models.Model.load(str(logged["iris"])).signature
    assert table.inputs.input_names() == list(iris.dataset.feature_names)
    assert table.outputs.input_names()[0] == "class"
    assert len(table.outputs.input_names()) == 1 + iris.dataset.num_classes
    images = mlflow.models.Model.load(str(logged["digits"])).signature
    assert images.inputs.inputs[0].shape == (-1, digits.dataset.num_features)


def test_wrong_columns_are_refused(logged, iris):
    model = mlflow.pyfunc.load_model(str(logged["iris"]))
    with pytest.raises(mlflow.MlflowException, match="Model is missing inputs"):
        model.predict(pd.DataFrame({"another": [1.0]}))


def is_pickle(content: bytes) -> bool:
    """Whether it begins as every pickle has done since protocol 2: the mark and the version."""
    return content[:1] == b"\x80" and content[1:2] <= b"\x05"


def test_nothing_in_the_store_is_a_pickle(logged):
    files = [path for path in logged["iris"].parents[2].rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".npz", ".json", ".py", ".parquet", ".csv"}
    for path in files:
        assert path.suffix not in {".pkl", ".pickle", ".joblib", ".cloudpickle", ".skops"}
        assert not is_pickle(path.read_bytes()), path
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                assert not any(is_pickle(archive.read(name)) for name in archive.namelist())
            with np.load(path, allow_pickle=False) as arrays:
                assert all(array.dtype != object for array in arrays.values())
    assert "python_model.pkl" not in (logged["iris"] / "MLmodel").read_text()


@pytest.fixture
def invocations(logged, tmp_path, monkeypatch):
    """The address at which a real server classifies."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(logged["iris"])]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # MLflow looks for uvicorn there
    environment = {**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, stderr=subprocess.PIPE
    ) as server:
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                    break
                except URLError:
                    if server.poll() is not None:
                        said = server.stderr.read().decode()
                        if "'FastAPI' object has no attribute 'route'" in said:
                            pytest.skip("this version of MLflow cannot serve with this version of FastAPI")
                        pytest.fail(said)
                    time.sleep(0.25)
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def test_served_model_answers_with_the_class(invocations, iris):
    raw, _, classes, _ = expected_of(iris)
    places = [0, 75, 149]
    columns = list(iris.dataset.feature_names)
    body = {"dataframe_split": {"columns": columns, "data": raw[places].tolist()}}
    request = urllib.request.Request(
        invocations, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        predictions = json.load(answer)["predictions"]
    assert [row["class"] for row in predictions] == [classes[place] for place in places]
