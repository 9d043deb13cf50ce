"""The benchmarks against other libraries compare trainings that train. How long they take is no test."""

import dataclasses
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


@pytest.fixture(scope="module")
def whole_study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import whole_study

        yield whole_study


@pytest.fixture(scope="module")
def story(whole_study):
    measured = whole_study.measure(whole_study.QUICK, num_rounds=1)
    assert not measured.failures
    return measured


def test_the_story_counts_the_trainings_of_every_variant(story, whole_study):
    assert list(story.runs) == list(whole_study.QUICK.variants)
    for (one,) in story.runs.values():
        assert (one.counts.tuning, one.counts.final, one.counts.untuned) == (2 * 3 * 2, 2 * 3, 2 * 3)
        assert one.counts.trainings_by_optimizer == {"gd": 12, "adam": 12}
        assert whole_study.planned_trainings(whole_study.QUICK, one.counts) == {"gd": 9, "adam": 9}
        assert one.counts.baseline_fits == 0


def test_the_phases_of_the_story_have_an_order_and_only_what_is_tracked_is_published(story, whole_study):
    for variant, (one,) in story.runs.items():
        assert all(seconds >= 0 for seconds in [*one.phases.values(), *one.work.values()]), (variant, one)
        assert one.work["training"] > 0
        assert (one.work["tracking"] > 0) == (variant != whole_study.UNTRACKED)


def test_the_trainings_by_scikit_learn_beside_the_story_learn(story):
    assert set(story.samples) == {"gd", "adam"}
    for (sample,) in story.samples.values():
        assert len(sample.accuracies) >= 2
        assert all(last < 0.7 * first for first, last in zip(sample.first_losses, sample.last_losses, strict=True))
        assert min(sample.accuracies) > 0.5  # of three classes


def test_the_table_of_the_story_has_every_variant_and_says_what_is_reached(story, whole_study):
    text = whole_study.describe(story)
    assert all(f"| {variant.name} |" in text for variant in whole_study.QUICK.variants)
    whats = [line for line in text.splitlines() if line.endswith(("| reached |", "| missed |"))]
    assert len(whats) == len(whole_study.goals(story)) == 4


def test_a_publisher_is_busy_while_a_record_waits_but_once(whole_study):
    # Written at 0, 1 and 10; published at 3, 5 and 11: busy from 0 to 5, idle, busy from 10 to 11.
    assert whole_study.publishing_seconds([(1, 5), (0, 3), (10, 11)]) == 6


def test_a_variant_that_cannot_run_is_named_and_the_others_go_on(whole_study):
    broken = whole_study.Variant("a broken one", ("no_such_key=1",))
    measured = whole_study.measure(dataclasses.replace(whole_study.QUICK, variants=(broken,)), num_rounds=1)
    assert not measured.runs
    assert len(measured.help_seconds) == 1
    assert len(measured.failures) == 1
    assert "a broken one" in measured.failures[0]
    assert "no_such_key is not a key" in measured.failures[0]
