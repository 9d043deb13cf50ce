"""OpenML, from a server on this machine that answers as openml.org does."""

import gzip
import hashlib
import json
import socket
import time
import urllib.request

import numpy as np
import pytest
import sklearn.datasets._openml as scikit_openml

from nnbench.data import DataError, OpenML
from nnbench.data import openml as ours

DOWNLOADS = ("/data/v1/download/70", "/data/v1/download/70/flowers.arff")
ARFF = """@relation flowers
@attribute length numeric
@attribute colour {red,green,blue}
@attribute open {FALSE,TRUE}
@attribute row numeric
@attribute kind {b,a}
@data
"""
ROWS = [
    f"{row / 7!r},{('red', 'green', 'blue')[row % 3]},{('FALSE', 'TRUE')[row % 2]},{row},{'ab'[row // 15]}"
    for row in range(30)
]


def feature(index, name, kind="numeric", *, target="false", ignored="false"):
    return {
        "index": str(index),
        "name": name,
        "data_type": kind,
        "is_target": target,
        "is_ignore": ignored,
        "is_row_identifier": ignored,
        "number_of_missing_values": "0",
    }


FEATURES = [
    feature(0, "length"),
    feature(1, "colour", "nominal"),
    feature(2, "open", "nominal"),
    feature(3, "row", ignored="true"),
    feature(4, "kind", "nominal", target="true"),
]


@pytest.fixture
def openml(server, tmp_path, monkeypatch):
    """Offer a data set under the addresses of openml.org; returns the function that offers it."""
    real_urlopen = urllib.request.urlopen

    def redirected(request, *args, **kwargs):
        path = request.full_url.split("openml.org", 1)[1]
        return real_urlopen(server.address + path, *args, **kwargs)

    monkeypatch.setattr(scikit_openml, "urlopen", redirected)
    monkeypatch.setattr(ours, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(ours, "RETRY_SECONDS", 0.01)

    def offer(arff=ARFF, rows=ROWS, features=FEATURES, **description):
        content = (arff + "\n".join(rows) + "\n").encode()
        description = {
            "id": "7",
            "name": "flowers",
            "version": "2",
            "description": "flowers",
            "format": "ARFF",
            "file_id": "70",
            "status": "active",
            "url": "https://api.openml.org/data/v1/download/70/flowers.arff",
            "md5_checksum": hashlib.md5(content).hexdigest(),
        } | description
        found = {"data": {"dataset": [{"did": 7, "name": "flowers", "version": 2, "status": "active"}]}}
        qualities = {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(len(rows))}]}}
        answers = {
            "data/list/data_name/flowers/limit/2/data_version/2": found,
            "data/7": {"data_set_description": description},
            "data/features/7": {"data_features": {"feature": features}},
            "data/qualities/7": qualities,
        }
        for path, answer in answers.items():
            server.answers[f"/api/v1/json/{path}"] = json.dumps(answer).encode()
        # Some versions of scikit-learn ask by number, others by the address in the description.
        server.answers |= dict.fromkeys(DOWNLOADS, content)

    return offer


@pytest.mark.parametrize("which", [{"openml_name": "flowers", "version": 2}, {"data_id": 7}])
def test_columns_are_numbers_or_one_hot(openml, which):
    openml()

    samples = OpenML(**which).read()

    assert samples.name == "flowers"
    assert samples.feature_names == ("length", "colour=blue", "colour=green", "colour=red", "open=FALSE", "open=TRUE")
    assert samples.class_names == ("a", "b")
    np.testing.assert_array_equal(samples.inputs[:, 0], np.arange(30) / 7)
    np.testing.assert_array_equal(samples.inputs[:, 1:4], np.tile(np.eye(3)[::-1], (10, 1)))
    np.testing.assert_array_equal(samples.labels, np.arange(30) // 15)


def test_data_set_fetched_once_is_read_offline(openml, server):
    openml()
    first = OpenML(openml_name="flowers", version=2).load()
    server.answers.clear()
    num_requests = server.requests.total()

    second = OpenML(openml_name="flowers", version=2).load()

    assert first.digest == second.digest
    assert server.requests.total() == num_requests


def test_other_target_can_be_named(openml):
    openml()

    samples = OpenML(data_id=7, target="colour").read()

    assert samples.class_names == ("blue", "green", "red")
    assert samples.feature_names == ("length", "open=FALSE", "open=TRUE", "kind=a", "kind=b")


def test_what_openml_says_against_a_data_set_is_a_warning(openml):
    openml(status="deactivated")

    assert any("inactive" in warning for warning in OpenML(data_id=7).load().warnings)


def test_no_answer_is_a_data_error_with_the_way_out(openml, server, tmp_path):
    with pytest.raises(DataError) as error:
        OpenML(openml_name="flowers", version=2).load()

    assert f"OpenML flowers version 2 is not in {tmp_path / 'cache'} and could not be fetched" in str(error.value)
    assert "the network" in str(error.value)
    assert server.requests.total() == 1 + ours.NUM_RETRIES
    assert socket.getdefaulttimeout() is None


def test_interrupted_fetch_leaves_nothing_that_is_believed(openml, server):
    openml()
    whole = server.answers[DOWNLOADS[0]]
    server.answers |= dict.fromkeys(DOWNLOADS, whole[:-100])
    with pytest.raises(DataError, match="could not be fetched"):
        OpenML(data_id=7).load()
    server.answers |= dict.fromkeys(DOWNLOADS, whole)

    assert len(OpenML(data_id=7).read().labels) == 30


def cut_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data"')


def silent(handler):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.flush()
    time.sleep(0.5)


def redirect_to_nowhere(handler):
    handler.send_response(302)
    handler.send_header("Location", "/login")
    handler.end_headers()


@pytest.mark.parametrize("path", ["/api/v1/json/data/7", "/data/v1/download/70"])
@pytest.mark.parametrize(
    "failure",
    [cut_off, silent, redirect_to_nowhere, b"<html>Please log in to this network</html>", b""],
    ids=["cut off", "silent", "redirected", "web page", "empty"],
)
def test_failing_server_is_a_data_error_and_is_forgotten(openml, server, monkeypatch, failure, path):
    monkeypatch.setattr(ours, "TIMEOUT_SECONDS", 0.2)
    openml()
    sound = dict(server.answers)
    server.answers |= dict.fromkeys([found for found in sound if found.startswith(path)], failure)

    with pytest.raises(DataError, match=r"OpenML 7 is not in .* and could not be fetched"):
        OpenML(data_id=7).load()

    server.answers |= sound
    assert len(OpenML(data_id=7).read().labels) == 30


def test_damaged_cache_is_fetched_again_and_never_believed(openml, server, tmp_path):
    openml()
    first = OpenML(data_id=7).load()
    (cached,) = [path for path in (tmp_path / "cache").rglob("*.gz") if "download" in str(path)]
    other = gzip.decompress(cached.read_bytes()).replace(b"red", b"blue")

    for damaged in (cached.read_bytes()[:-9], gzip.compress(other), b""):
        cached.write_bytes(damaged)
        assert OpenML(data_id=7).load().digest == first.digest

    cached.write_bytes(gzip.compress(other))
    server.answers.clear()
    with pytest.raises(DataError, match="could not be fetched"):
        OpenML(data_id=7).load()


@pytest.mark.parametrize(
    ("rows", "features", "message"),
    [
        (["?,red,TRUE,0,a", *ROWS[1:]], FEATURES, r"row 1: column 'length' is missing"),
        ([*ROWS[:2], "1,?,TRUE,0,a", *ROWS[3:]], FEATURES, r"row 3: column 'colour' is missing"),
        (ROWS, [*FEATURES[:4], feature(4, "kind", "nominal")], "has no single target column of its own"),
        (ROWS, [feature(0, "length", "string"), *FEATURES[1:]], "column 'length' holds"),
        (ROWS, [feature(0, "length", ignored="true"), *(f | {"is_ignore": "true"} for f in FEATURES[1:4]), FEATURES[4]],
         "no column beside its target"),
    ],
)  # fmt: skip
def test_unusable_content_is_a_data_error(openml, rows, features, message):
    arff = ARFF.replace("length numeric", "length string") if features[0]["data_type"] == "string" else ARFF
    openml(arff=arff, rows=rows, features=features)

    with pytest.raises(DataError, match=message):
        OpenML(data_id=7).load()


@pytest.mark.parametrize("fields", [{}, {"openml_name": "flowers", "data_id": 7}])
def test_exactly_one_of_name_and_id_is_needed(fields):
    with pytest.raises(ValueError, match="it must be one of the two and null for the other"):
        OpenML(**fields)
