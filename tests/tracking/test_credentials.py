"""A password in the address of a store reaches MLflow and nothing else."""

import json
import os

import pytest

from nnbench.tracking import credentials, store

CANARY = "s3same%2Fopen"
PLAIN = "http://team:5000"
WITH = f"http://me:{CANARY}@team:5000"


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setenv(credentials.KEPT, "{}")


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        (WITH, PLAIN),
        (f"https://me:{CANARY}@team/path?x=1", "https://team/path?x=1"),
        (f"postgresql+psycopg://me:{CANARY}@db/mlflow", "postgresql+psycopg://db/mlflow"),
        ("http://a b'\"<>@:{}@team", "http://team"),  # whatever a password has in it
        ("http://token@team", "http://team"),
    ],
)
def test_address_travels_without_credentials_and_is_complete_when_it_is_needed(address, plain):
    assert credentials.hide(address) == plain
    assert credentials.hide(plain) == plain
    assert credentials.complete(plain) == address
    assert store.resolve(address) == store.resolve(plain) == plain
    assert credentials.without_credentials(f"GET {address} failed") == f"GET {plain} failed"


@pytest.mark.parametrize("address", ["http://team", "sqlite:////a@b/mlflow.db", "databricks"])
def test_address_without_credentials_is_left_alone(address):
    assert credentials.hide(address) == address
    assert credentials.complete(address) == address
    assert json.loads(os.environ[credentials.KEPT]) == {}


def test_environment_may_have_them_too(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", WITH)
    assert store.resolve(None) == PLAIN
    assert credentials.complete(PLAIN) == WITH


@pytest.mark.parametrize(
    ("argument", "left"),
    [
        (f"tracking.uri={WITH}", f"tracking.uri={PLAIN}"),
        (f"+tracking.uri={WITH}", f"+tracking.uri={PLAIN}"),
        (f"tracking.uri='{WITH}'", f"tracking.uri='{PLAIN}'"),
        ('tracking.uri="http://me:a,b@team"', 'tracking.uri="http://team"'),
        (f"tracking.uri={WITH},http://me:{CANARY}@other", f"tracking.uri={PLAIN},http://other"),
        ("dataset.path=a@b.csv", "dataset.path=a@b.csv"),
        ("tracking.uri=null", "tracking.uri=null"),
    ],
)
def test_word_of_a_command_line_loses_them_before_hydra_writes_it_down(argument, left):
    assert credentials.hide_in_arguments(["-m", argument, "seeds=2"]) == ["-m", left, "seeds=2"]
