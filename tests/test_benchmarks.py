"""The benchmark against other libraries compares trainings that train. How long they take is no test."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
UNTRAINED = 2.3  # the logarithm of ten classes
OWN_START = "scikit-learn"  # draws its own initial weights and batches


@pytest.fixture(scope="module")
def peers():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import peers

        yield peers


@pytest.fixture(scope="module")
def results(peers):
    contenders = [contender for contender in peers.PEERS if contender.library is None]
    measurements, failures = peers.measure(contenders, [peers.QUICK])
    assert not failures
    assert len(measurements) == len(contenders)
    return peers.Results(measurements, peers.COMPARISON)


def test_every_contender_of_the_benchmark_learns(results, peers):
    losses = {one.contender: one.loss for one in results.by_place.values() if one.contender != peers.BARE}
    assert len(losses) >= 6
    assert all(loss < 0.1 * UNTRAINED for loss in losses.values()), losses


def test_contenders_that_begin_alike_reach_the_same_loss(results, peers):
    losses = {one.contender: one.loss for one in results.by_place.values() if one.contender != peers.BARE}
    alike = {name: loss for name, loss in losses.items() if not name.startswith(OWN_START)}
    assert len(alike) >= 5
    assert list(alike.values()) == pytest.approx([losses[peers.TEN]] * len(alike), rel=0.01), alike


def test_the_report_of_the_benchmark_has_every_contender_and_a_plot(results, peers, tmp_path):
    peers.write(results, tmp_path)
    text = (tmp_path / "peers.md").read_text(encoding="utf-8")
    assert all(f"| {contender} |" in text for contender in results.contenders)
    assert "reached" in text or "missed" in text
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_a_contender_that_cannot_run_is_named_and_the_others_go_on(peers):
    broken = peers.Contender("a broken one", "own", "NoSuchClass")
    measurements, failures = peers.measure([broken, peers.PEERS[0]], [peers.QUICK])
    assert [one.contender for one in measurements] == [peers.BARE]
    assert len(failures) == 1
    assert "a broken one" in failures[0]
    assert "NoSuchClass" in failures[0]
