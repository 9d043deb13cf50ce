"""A clock that is set while a command runs."""

import time

import pytest
from sweep_cases import OWN, TINY, Place

from nnbench.nn import GD
from nnbench.tracking import record


@pytest.mark.parametrize("hours", [-1, 1])
def test_clock_that_is_set_makes_no_time_negative_and_closes_no_run_that_lives(tmp_path, monkeypatch, hours):
    place = Place.with_rules(tmp_path)
    clock, step = time.time, GD.step

    def step_and_set(self, grads, factor=1.0):
        step(self, grads, factor)
        monkeypatch.setattr(time, "time", lambda: clock() + 3600 * hours)

    monkeypatch.setattr("nnbench.sweep.attempt.FLUSH_EVERY", 0.0)
    monkeypatch.setattr(GD, "step", step_and_set)
    # One asks, in the middle of a cell, what becomes of it.
    ended = place.give("-m", *OWN, *TINY, "num_epochs=5", "seeds=2", "optimizer=gd,asking", "progress=false")

    assert ended.status == 0, ended.err
    assert (tmp_path / "seen").read_text() == "running"
    assert place.ask("SELECT name FROM runs WHERE end_time < start_time OR status != 'FINISHED'") == []
    assert place.ask("SELECT run_uuid FROM metrics WHERE key LIKE 'time/%' AND value < 0") == []
    for folder in record.find(tmp_path):
        cell = record.read(folder).cell
        assert cell["started"] <= cell["ended"]
        assert cell["train_seconds"] >= 0
    assert place.give("-m", *OWN, *TINY, "num_epochs=5", "seeds=2", "optimizer=gd", "progress=false").status == 0
    assert len(place.runs("gd relu")) == 1  # finished, whatever the clock says
