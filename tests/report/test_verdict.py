"""The verdict: each sentence is true of numbers that were made by hand, and is not said of others."""

import math

import numpy as np
import pandas as pd
import pytest
from report_cases import planted, results_of

from nnbench.report.results import Results
from nnbench.report.verdict import verdict
from nnbench.tracking.coverage import Coverage


def said(found: Results) -> str:
    return str(verdict(found))


def covered(*states: tuple[str, str, str], duplicates: int = 0) -> Coverage:
    """What was to be trained: cell, state and reason of each."""
    cells = pd.DataFrame(states, columns=["cell", "state", "reason"])
    cells["duplicates"] = [duplicates, *[0] * (len(cells) - 1)]
    cells["damaged"] = ""
    return Coverage("x", "a sweep", "python -m nnbench -m", cells)


def test_single_seed_cannot_tell():
    sentences = said(results_of(planted({"adam relu": [0.9], "gd relu": [0.5]})))
    assert "90.00%, from a single seed" in sentences
    assert "gd relu (+40.00 points on 1 equal seed)" in sentences
    assert "Too few seeds to tell which is better" in sentences


@pytest.mark.parametrize(
    ("num_seeds", "lead", "spread", "wanted"),
    [
        (2, 0.2, 0.001, "cannot tell whether it is better than adam relu (+20.00 points"),
        (
            5,
            0.2,
            0.001,
            "Too few seeds to tell which is better: with 2 cells it takes at least 6 equal seeds (seeds=6).",
        ),
        (6, 0.2, 0.001, "It is better than adam relu (+20.00 points, 95 % interval +19.9"),
        (6, 0.2, 0.001, "on 6 equal seeds, p = 0.0312 after Holm)."),
        (10, 0.006, 0.02, "cannot tell whether it is better than adam relu (+0.60 points"),
        (10, 0.0005, 0.001, "It is equivalent, within 0.5 points, to adam relu (+0.05 points"),
    ],
)
def test_a_lead_is_believed_only_with_enough_seeds_and_a_clear_difference(num_seeds, lead, spread, wanted):
    base = [0.5 + 0.01 * (seed % 3) for seed in range(num_seeds)]
    other = [value + lead + spread * (-1) ** seed for seed, value in enumerate(base)]
    assert wanted in said(results_of(planted({"adam relu": base, "gd relu": other})))


def test_more_cells_than_any_number_of_seeds_tells_apart_are_said_to_be_too_many():
    cells = {f"adam relu {place}": [0.9 - place / 100 + seed / 1000 for seed in range(20)] for place in range(72)}
    sentences = said(results_of(planted(cells)))
    assert "With 72 cells there are 2,556 pairs, too many to tell any of them apart" in sentences
    assert "it takes at least" not in sentences


def test_leader_is_compared_with_every_cell_and_corrected_for_all_pairs():
    base = [0.9 + 0.001 * seed for seed in range(10)]
    gaps = {"adam relu": 0, "gd relu": 0.1, "adagrad relu": 0.2}
    sentences = said(results_of(planted({cell: [value - gap for value in base] for cell, gap in gaps.items()})))
    p = "on 10 equal seeds, p = 0.00586 after Holm"  # 2 / 2^10, times three pairs
    assert (
        f"It is better than gd relu (+10.00 points, 95 % interval +10.00 to +10.00, {p}); "
        f"adagrad relu (+20.00 points, 95 % interval +20.00 to +20.00, {p})." in sentences
    )


def test_leader_by_seeds_of_its_own_is_told_apart():
    sentences = said(results_of(planted({"adam relu": [0.5] * 6 + [1.0] * 6, "gd relu": [0.6] * 6})))
    assert "On equal seeds it is worse than gd relu (-10.00 points, 95 % interval -10.00 to -10.00, on 6" in sentences
    assert "unequal numbers of seeds" in sentences


def test_cells_without_an_equal_seed_are_said_to_have_none():
    replicas = planted({"adam relu": [0.9] * 6, "gd relu": [0.5] * 6})
    replicas.loc[replicas["cell"] == "gd relu", "seed"] += 6
    assert "cannot tell whether it is better than gd relu (no equal seeds)." in said(results_of(replicas))


def test_equal_cells_have_no_minus_zero():
    sentences = said(results_of(planted({"gd relu": [0.9] * 6, "adam relu": [0.9] * 6})))
    assert "to adam relu (+0.00 points, 95 % interval +0.00 to +0.00, on 6 equal seeds, p = 1 after Holm)." in sentences


def test_names_of_cells_are_no_markup_in_the_verdict():
    name = "<script>alert('cell')</script> {x} %s"
    shown = verdict(results_of(planted({"adam relu": [0.9] * 6, name: [0.5] * 6})))
    assert name in str(shown)
    assert "<script>" not in shown._repr_html_()


def test_data_sets_are_not_ranked_against_each_other():
    both = [
        planted({"adam relu iris": [0.9] * 6}, dataset="iris"),
        planted({"adam relu wine": [0.5] * 6}, dataset="wine"),
    ]
    sentences = said(results_of(pd.concat(both)))
    assert "On iris, adam relu iris has a mean test accuracy of 90.00%" in sentences
    assert "On wine, adam relu wine has a mean test accuracy of 50.00%" in sentences
    assert "better" not in sentences
    assert "equal seeds" not in sentences


def waves(mean: float, num_seeds: int = 10, height: float = 0.0) -> list[float]:
    """Scores around a mean that go up and down with the seed."""
    return [mean + height * (-1) ** seed for seed in range(num_seeds)]


def test_winner_is_called_one_only_if_it_is_better_than_each_other_cell():
    clear = said(results_of(planted({"adam relu": waves(0.9), "gd relu": waves(0.8), "rmsprop relu": waves(0.7)})))
    assert clear.startswith("On digits, adam relu wins. It has the highest mean test accuracy: 90.00%")
    unclear = planted({"adam relu": waves(0.9), "gd relu": waves(0.899, height=0.01), "rmsprop relu": waves(0.7)})
    assert said(results_of(unclear)).startswith("On digits, these seeds cannot tell which network is best. adam relu")
    trifle = said(results_of(planted({"adam relu": waves(0.9), "gd relu": waves(0.899), "rmsprop relu": waves(0.7)})))
    assert trifle.startswith("On digits, no other network is better than adam relu by more than a trifle. ")


def test_many_cells_are_counted_and_the_closest_has_its_numbers():
    scores = {f"adam relu {place}": waves(0.9 - 0.01 * place, num_seeds=12) for place in range(12)}
    sentences = said(results_of(planted(scores)))
    assert "It is better than each of the 11 other networks, of which the closest is adam relu 1 (+1.00" in sentences


def test_what_would_change_an_open_verdict_is_more_seeds():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(20)
    noise = 0.01 * (noise - noise.mean()) / noise.std(ddof=1)  # deviation: one point
    first = np.full(20, 0.9)
    sentences = said(results_of(planted({"adam relu": list(first), "gd relu": list(first - 0.004 + noise)})))
    # A paired t test of 20 pairs has power .8 at .660 deviations, and needs 52 pairs for .4, as G*Power says.
    assert "with 20 seeds, a difference of 0.66 points between adam relu and gd relu could be found" in sentences
    assert "the measured one is 0.40 points." in sentences
    assert "it takes about 52 seeds to find it." in sentences


def test_difference_that_no_number_of_seeds_shows_is_said_to_be_one():
    scores = {"adam relu": waves(0.9), "gd relu": waves(0.8999, height=0.05)}
    assert "would take more than 1000 seeds" in said(results_of(planted(scores)))


def test_clear_winner_is_told_what_its_nearest_rival_lacks():
    sentences = said(results_of(planted({"adam relu": waves(0.9), "gd relu": waves(0.85), "rmsprop relu": waves(0.7)})))
    assert "gd relu, the nearest rival, would have to gain 5.00 points to draw level" in sentences
    assert "seeds to find it" not in sentences


def test_optimizers_and_activations_are_compared_over_each_other():
    scores = {
        f"{optimizer} {activation}": waves(0.9 - lack - less)
        for optimizer, lack in (("adam", 0), ("gd", 0.2), ("rmsprop", 0.001))
        for activation, less in (("relu", 0), ("tanh", 0.05))
    }
    sentences = said(results_of(planted(scores)))
    assert (
        "Averaged over activations, adam has the highest mean of the optimizers: it is better than gd; it is "
        "equivalent, within 0.5 points, to rmsprop." in sentences
    )
    assert (
        "Averaged over optimizers, relu has the highest mean of the activations: it is better than tanh." in sentences
    )


def test_grid_with_a_gap_is_averaged_over_what_all_have_and_says_so():
    scores = {"adam relu": waves(0.9), "adam tanh": waves(0.1), "gd relu": waves(0.8)}
    sentences = said(results_of(planted(scores)))
    assert "Averaged over the activations that every optimizer has, adam has the highest mean of the" in sentences


def test_cells_of_one_optimizer_and_activation_are_no_grid():
    scores = {f"{name} {place}": waves(0.9) for name in ("adam relu", "gd tanh") for place in range(2)}
    assert "Averaged" not in said(results_of(planted(scores)))


@pytest.mark.parametrize(
    ("of_baseline", "wanted"),
    [
        (
            0.8,
            "network on digits, adam relu, is better than the best scikit-learn baseline, svm (80.00%): +10.00",
        ),
        (
            0.95,
            "A baseline wins on digits: adam relu, the best network, is worse than the best scikit-learn baseline, svm",
        ),
        (
            0.901,
            "network on digits, adam relu, is equivalent, within 0.5 points, to the best scikit-learn baseline",
        ),
    ],
)
def test_best_baseline_is_held_against_the_best_network_whoever_wins(of_baseline, wanted):
    networks = planted({"adam relu": waves(0.9), "gd relu": waves(0.5)})
    baselines = planted({"svm": waves(of_baseline), "dummy": waves(0.1)})
    assert wanted in said(results_of(networks, baselines=baselines))


def test_baseline_that_is_as_good_is_not_said_to_lose():
    networks = planted({"adam relu": waves(0.9, height=0.05)})
    sentences = said(results_of(networks, baselines=planted({"svm": waves(0.89)})))
    assert "These seeds cannot tell the best network on digits, adam relu, from the best scikit-learn" in sentences


def test_baselines_without_a_network_are_reported_alone():
    found = results_of(planted({"x": []}).reindex(columns=["cell", "dataset", "optimizer", "activation", "seed"]))
    alone = Results("x", found.replicas, found.history, found.cells, {}, {}, baselines=planted({"svm": waves(0.9)}))
    assert said(alone).startswith("On digits there are baselines alone, and no network. The best is svm: 90.00%")


def test_study_without_baselines_says_nothing_of_them():
    assert "baseline" not in said(results_of(planted({"adam relu": waves(0.9), "gd relu": waves(0.5)})))


def test_every_kind_of_missing_cell_is_counted_and_named_in_the_first_sentences():
    states = [
        ("adam relu", "done", ""),
        ("gd relu", "diverged", "10 of 10 seeds diverged"),
        ("rprop relu", "missing", "not trained yet"),
        ("momentum relu", "failed", "ValueError: no"),
        ("adagrad relu", "running", ""),
        ("rmsprop relu", "interrupted", "stopped by SIGTERM in epoch 3"),
        ("nesterov relu", "damaged", "its record in the store is damaged or gone"),
        ("nesterov tanh", "damaged", "its record in the store is damaged or gone"),
    ]
    networks = planted({"adam relu": waves(0.9), "gd relu": waves(0.1)})
    first = said(results_of(networks, coverage=covered(*states))).split("\n\n")[0]
    assert first == (
        "This report is incomplete: 2 of 8 cells have a result. Still running (1): adagrad relu. "
        "Interrupted (1): rmsprop relu (stopped by SIGTERM in epoch 3). Failed (1): momentum relu (ValueError: no). "
        "With a damaged record in the store (2): nesterov relu; nesterov tanh. Not trained yet (1): rprop relu. "
        "The same command trains what is missing, see the end."
    )


def test_complete_study_does_not_speak_of_what_is_missing():
    networks = planted({"adam relu": waves(0.9)})
    assert "incomplete" not in said(results_of(networks, coverage=covered(("adam relu", "done", ""))))


def test_duplicated_results_are_counted_and_named():
    coverage = covered(("adam relu", "done", ""), ("gd relu", "done", ""), duplicates=2)
    sentences = said(results_of(planted({"adam relu": waves(0.9), "gd relu": waves(0.5)}), coverage=coverage))
    assert "Trained more than once (adam relu: 3 results); the newest result of each cell is the one" in sentences


def test_diverged_trainings_are_counted_by_cell():
    networks = planted({"adam relu": waves(0.9), "gd relu": waves(0.1)})
    networks.loc[(networks["cell"] == "gd relu") & (networks["seed"] < 3), "status"] = "diverged"
    sentences = said(results_of(networks))
    assert "3 of 20 trainings diverged and count as chance level (gd relu: 3 of 10)." in sentences


def test_study_in_which_everything_diverged_has_no_winner():
    names = [f"{optimizer} {activation}" for optimizer in ("adam", "gd") for activation in ("relu", "tanh")]
    sentences = said(results_of(planted(dict.fromkeys(names, waves(0.1))).assign(status="diverged")))
    assert sentences.startswith("On digits, every training of every cell diverged.")
    for word in ("wins", "highest", "Averaged", "Too few", "better"):
        assert word not in sentences


def test_where_everything_diverged_a_baseline_is_told_and_not_compared():
    networks = planted({"gd relu": waves(0.1)}).assign(status="diverged")
    sentences = said(results_of(networks, baselines=planted({"dummy": waves(0.1)})))
    assert "The best scikit-learn baseline on digits, dummy, has 10.00%." in sentences
    assert "after Holm" not in sentences


def test_optimizers_without_seeds_in_common_are_not_ranked():
    names = [f"{optimizer} {activation}" for optimizer in ("adam", "gd") for activation in ("relu", "tanh")]
    replicas = planted(dict.fromkeys(names, waves(0.9)))
    assert "Averaged over activations" in said(results_of(replicas))
    apart = replicas.assign(seed=replicas["seed"] + 10 * replicas["cell"].factorize()[0])
    assert "Averaged" not in said(results_of(apart))


def test_cells_with_fewer_seeds_are_named():
    networks = planted({"adam relu": waves(0.9), "gd relu": waves(0.5, num_seeds=7), "rmsprop relu": waves(0.4)})
    sentences = said(results_of(networks))
    assert "unequal numbers of seeds, so the order is not a fair ranking (gd relu: 7; the others: 10)" in sentences


def test_tuned_and_untuned_cells_are_told_apart():
    networks = planted({"adam relu": waves(0.9), "gd relu": waves(0.5)})
    cells = pd.DataFrame(
        {
            "cell": ["adam relu", "gd relu"],
            "tuned": ["learning_rate = 0.1", ""],
            "num_trials": [7, math.nan],
            "at_edge": [True, False],
            "finding": "healthy",
        }
    )
    sentences = said(results_of(networks, cells=cells))
    assert "Not tuned, so at a disadvantage: gd relu." in sentences
    assert "Still at the edge of the grid, so perhaps not at its best: adam relu." in sentences
    assert "this compares settings" in said(results_of(networks))
