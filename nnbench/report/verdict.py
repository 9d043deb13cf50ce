"""What the numbers say, in sentences, and what they cannot say.

To add a sentence: a function that returns its paragraphs, and its name in `verdict`.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from nnbench.analysis.comparison import DECIMALS, REGION, fewest_seeds, too_many_pairs
from nnbench.analysis.power import nearest_rival
from nnbench.report.display import Paragraph, Paragraphs, Table
from nnbench.report.missing import CAUSES, with_result, without_result
from nnbench.report.reached import MET, check
from nnbench.report.results import Results
from nnbench.report.tables import to_reach
from nnbench.tracking.read import WITH_RESULT

WITH_A_REASON = ("interrupted", "failed")  # states whose reason says more than the state
MOST_WITH_NUMBERS = 3  # cells that a sentence names with their numbers; the table of pairs has them all
MOST_MISSING = 40  # cells without a result that are named; the table of them has them all
MOST_NAMED = 8  # cells that a sentence names at all
ENOUGH_SEEDS = 10  # of an interval that is about what it is called
MOST_SEEDS = 1000  # nobody trains more only to tell two settings apart
IN_WORDS = {
    "better": "It is better than",
    "worse": "On equal seeds it is worse than",
    "equivalent": f"It is equivalent, within {100 * REGION:g} points, to",
    "cannot tell": "These seeds cannot tell whether it is better than",
}


def verdict(results: Results) -> Paragraphs:
    """Return what is missing, what the study asks and was to reach, who wins on each data set, what to keep in mind."""
    texts: list[Paragraph | Table | str] = [on_missing(results), *on_study(results)]
    for dataset in results.datasets:
        texts.append(on_leader(results, dataset))
        for sentence in (on_unequal_seeds, on_few_seeds, on_more_seeds, on_methods, on_baselines, on_other_settings):
            texts.append(sentence(results, dataset))
        texts.append(on_test_split(results, dataset))
    texts += [*on_baselines_alone(results), on_tuning(results), on_divergence(results), on_duplicates(results)]
    if results.datasets:
        texts.append(
            "Each verdict holds for further seeds on the same data and the same split; other data may rank the cells "
            "in another way. Whatever leads on the test split looks a little stronger there than it is, as it was "
            "picked by looking there."
        )
    texts.append(on_coverage(results))
    return Paragraphs(tuple(Paragraph(text) if isinstance(text, str) else text for text in texts if text != ""))


def on_missing(results: Results) -> Paragraph | str:
    """Return how many cells have no result, each with its name and reason; nothing if all have one."""
    missing, num_done = without_result(results), with_result(results)
    if not len(missing):
        return ""
    texts = []
    for state, cells in missing.groupby("state", sort=False):
        # Why a cell was not trained or cannot be read is said by its state alone.
        reasons = cells["reason"] if state in WITH_A_REASON else [""] * len(cells)
        named = [f"{cell} ({reason})" if reason else cell for cell, reason in zip(cells["cell"], reasons, strict=True)]
        more = f" and {len(named) - MOST_MISSING} more, see tables/coverage.csv" if len(named) > MOST_MISSING else ""
        texts.append(f"{_capital(CAUSES[str(state)])} ({len(cells)}): {'; '.join(named[:MOST_MISSING])}{more}.")
    if results.coverage is not None and results.coverage.command:
        texts.append("The same command trains what is missing, see the end.")
    bold = f"This report is incomplete: {num_done} of {num_done + len(missing)} cells have a result."
    return Paragraph(" ".join(texts), bold)


def on_study(results: Results) -> list[Paragraph | Table | str]:
    """Return what the study asks, where its number comes from, and the bands it was to reach; nothing for a sweep."""
    words = (results.coverage.about if results.coverage else None) or {}
    about = {name: text.replace("`", "") for name, text in words.items()}  # code is marked in the page of studies alone
    parts: list[Paragraph | Table | str] = []
    if about:
        parts += [Paragraph(f"Source: {about['source']}.", about["question"])]
        parts += [f"What differs: {about['differences']}"] if about.get("differences") else []
    reached = check(results)
    if len(reached):
        met = int((reached["verdict"] == MET).sum())
        several = f"Of the {len(reached)} bands of the study, {met} {'is' if met == 1 else 'are'} met."
        parts += [
            Paragraph("", several if len(reached) > 1 else f"The band of the study is {reached['verdict'].iloc[0]}.")
        ]
        parts += [to_reach(results)]
    if about.get("explanation"):
        parts += [Paragraph(f"{about['explanation']} (Written with the results at hand.)", "What it means.")]
    return parts


def on_leader(results: Results, dataset: str) -> Paragraph:
    """Return who has the highest mean on a data set, and which cells it can be told apart from."""
    board, leader = results.board(dataset), results.leader(dataset)
    if _all_diverged(board):
        return Paragraph("", f"On {dataset}, every training of every cell diverged.")
    against = _against(results, dataset)
    best = board.iloc[0]
    score = f"{best['mean']:.2%}{_interval(best)}"
    num_others = len(board) - 1
    if not num_others:
        return Paragraph(
            "There is no network to compare it with.", f"On {dataset}, {leader} has a mean test accuracy of {score}."
        )
    if set(against["verdict"]) == {"better"}:
        bold = f"On {dataset}, {leader} wins."
        start = f"It has the highest mean test accuracy: {score}."
    elif set(against["verdict"]) <= {"better", "equivalent"}:
        bold = f"On {dataset}, no other network is better than {leader} by more than a trifle."
        start = f"It has the highest mean test accuracy: {score}."
    else:
        bold = f"On {dataset}, these seeds cannot tell which network is best."
        start = f"{leader} has the highest mean test accuracy: {score}."
    ties = list(board["cell"][1:][board["mean"][1:].round(DECIMALS) == round(best["mean"], DECIMALS)])
    sentences = [f"{start} {_names(ties)} {'has' if len(ties) == 1 else 'have'} the same mean." if ties else start]
    for name, beginning in IN_WORDS.items():
        rows = against[against["verdict"] == name]
        if len(rows):
            sentences.append(f"{beginning} {_cells(rows, num_others, 'any' if name == 'cannot tell' else 'each')}.")
    return Paragraph(" ".join(sentences), bold)


def on_more_seeds(results: Results, dataset: str) -> str:
    """Return what would change the verdict: more seeds, or a rival that gains."""
    pairs = results.pairs_of(dataset, results.leader(dataset))
    num_cells = len(results.board(dataset))
    if num_cells < 2 or _all_diverged(results.board(dataset)):
        return ""
    num_pairs = math.comb(num_cells, 2)
    if too_many_pairs(num_pairs):
        return (
            f"With {num_cells} cells there are {num_pairs:,} pairs, too many to tell any of them apart, whatever the "
            "number of seeds. Compare fewer cells, or the optimizers over all activations."
        )
    needed = fewest_seeds(num_pairs)
    if pairs["seeds"].max() < needed:
        return (
            f"Too few seeds to tell which is better: with {num_cells} cells it takes at least {needed} equal seeds "
            f"(seeds={needed})."
        )
    rivalry = nearest_rival(results.of(dataset, "replicas"), pairs, cell=results.leader(dataset))
    if rivalry is None:
        return ""
    if rivalry.verdict == "better":
        return (
            f"What would change it: {rivalry.rival}, the nearest rival, would have to gain "
            f"{100 * rivalry.to_draw_level:.2f} points to draw level. More seeds hardly would."
        )
    if rivalry.verdict != "cannot tell":
        return ""
    if rivalry.seeds < needed:
        return (
            f"What would change it: more seeds. {rivalry.cell} and {rivalry.rival} have {rivalry.seeds} in common; "
            f"with {num_cells} cells it takes at least {needed} equal seeds to tell which is better (seeds={needed})."
        )
    if not math.isfinite(rivalry.detectable):
        return ""
    start = (
        f"What would change it: with {rivalry.seeds} seeds, a difference of {100 * rivalry.detectable:.2f} points "
        f"between {rivalry.cell} and {rivalry.rival} could be found with power .8 (four times out of five); the "
        f"measured one is {100 * abs(rivalry.difference):.2f} points."
    )
    if rivalry.seeds_needed is None or rivalry.seeds_needed > MOST_SEEDS:
        return f"{start} To find a difference as small as that would take more than {MOST_SEEDS} seeds."
    return (
        f"{start} If the true difference is as large as that, it takes about {rivalry.seeds_needed} seeds to find it."
    )


def on_methods(results: Results, dataset: str) -> str:
    """Return the best optimizer over all activations and the best activation over all optimizers.

    Their pairs are fewer than those of cells, so the same seeds tell more. Nothing where there is no grid of both.
    """
    replicas = results.of(dataset, "replicas")
    whole = len(results.board(dataset)) == len(set(replicas["optimizer"])) * len(set(replicas["activation"]))
    sentences = []
    for by, over in (("optimizer", "activation"), ("activation", "optimizer")):
        pairs = results.method_pairs(dataset, by, over)
        if not len(pairs) or pairs["seeds"].max() < 2 or _all_diverged(results.board(dataset)):
            continue
        leader = str(pairs["first"].iloc[0])  # the best mean is first
        against = _seen_from(leader, pairs)
        told = [
            f"{beginning[:1].lower()}{beginning[1:]} {_names(list(rows['other']))}"
            for name, beginning in IN_WORDS.items()
            if len(rows := against[against["verdict"] == name])
        ]
        those = f"{over}s" if whole else f"the {over}s that every {by} has"
        sentences.append(f"Averaged over {those}, {leader} has the highest mean of the {by}s: {'; '.join(told)}.")
    return " ".join(sentences)


def on_unequal_seeds(results: Results, dataset: str) -> str:
    """Return which networks have fewer seeds than others; nothing if all have as many."""
    board = results.board(dataset)
    most = board["seeds"].max()
    fewer = board[board["seeds"] < most]
    if not len(fewer):
        return ""
    named = _names([f"{row.cell}: {row.seeds}" for row in fewer.itertuples()])
    return (
        f"The networks on {dataset} have unequal numbers of seeds, so the order is not a fair ranking "
        f"({named}; the others: {most}). Pairs are compared on the seeds that both have."
    )


def on_baselines(results: Results, dataset: str) -> str:
    """Return how the best network does against the best baseline; nothing if there is no baseline."""
    best = results.best_baseline(dataset)
    if best is None:
        return ""
    leader, score = results.leader(dataset), results.baseline_board(dataset)["mean"].iloc[0]
    if _all_diverged(results.board(dataset)):
        return f"The best scikit-learn baseline on {dataset}, {best}, has {score:.2%}."
    baseline = f"the best scikit-learn baseline, {best} ({score:.2%})"
    table = results.against_baselines(dataset)
    row = table[table["baseline"] == best].iloc[0]
    if row["seeds"] == 0:
        return f"On {dataset}, {leader} and {baseline} have no seeds in common, so they are not compared."
    numbers = _numbers(row["difference"], row["low"], row["high"], int(row["seeds"]), row["p_holm"])
    match row["verdict"]:
        case "better":
            return f"The best network on {dataset}, {leader}, is better than {baseline}: {numbers}."
        case "worse":
            return f"A baseline wins on {dataset}: {leader}, the best network, is worse than {baseline}: {numbers}."
        case "equivalent":
            return (
                f"The best network on {dataset}, {leader}, is equivalent, within {100 * REGION:g} points, to "
                f"{baseline}: {numbers}."
            )
        case _:
            return f"These seeds cannot tell the best network on {dataset}, {leader}, from {baseline}: {numbers}."


def on_other_settings(results: Results, dataset: str) -> str:
    """Return in what else the networks of a data set differ; nothing if they do not."""
    others = results.differing_settings(dataset)
    if not others:
        return ""
    return (
        f"The networks on {dataset} differ in more than optimizer and activation, too: {_names(others)}. A difference "
        "between two of them may come from any of these."
    )


def on_few_seeds(results: Results, dataset: str) -> str:
    """Return that intervals of few seeds promise too much; nothing where there are enough, or a single one."""
    seeds = results.board(dataset)["seeds"]
    if not 1 < seeds.min() < ENOUGH_SEEDS:
        return ""
    return (
        f"Intervals over {seeds.min()} seeds are too narrow: bootstrapped from five values, what is called a 95 % "
        "interval holds the true mean in about 83 % of cases."
    )


def on_test_split(results: Results, dataset: str) -> str:
    """Return what one test sample weighs, if it weighs more than what counts as a difference."""
    if "data" not in results.cells:
        return ""
    of_dataset = results.cells[results.cells["dataset"] == dataset]
    num_samples = int(of_dataset["data"].iloc[0]["test"])
    if 1 / num_samples <= REGION:
        return ""
    return (
        f"The test split of {dataset} has {num_samples} samples, so that one of them is {100 / num_samples:.2f} points."
    )


def on_coverage(results: Results) -> str:
    """Return what the report is one of: a sweep, or the whole study."""
    if results.coverage is None:
        return ""
    num_cells = len(results.coverage.cells)
    cells = f"{num_cells} cell{'' if num_cells == 1 else 's'}, baselines included"
    if results.coverage.sweep:
        return f"This report covers the sweep {results.coverage.sweep} ({cells})."
    return f"This report covers the newest result of every setting of the study ({cells})."


def on_baselines_alone(results: Results) -> list[str]:
    """Return the best baseline of each data set that no network has a result on."""
    texts = []
    for name in results.baselines["dataset"].unique():
        board = results.baseline_board(name)
        if name in results.datasets or not len(board):
            continue
        best = board[board["mean"].round(DECIMALS) == round(board["mean"].iloc[0], DECIMALS)]
        draws = len(best) == 1 and best["cell"].iloc[0] not in results.without_draws
        text = f"{board.iloc[0]['mean']:.2%}{_interval(board.iloc[0]) if draws else ''}"
        verb = "The best is" if len(best) == 1 else "The best are"
        texts.append(
            f"On {name} there are baselines alone, and no network. {verb} {_names(list(best['cell']))}: {text}."
        )
    return texts


def on_tuning(results: Results) -> str:
    """Return what the comparison is one of: settings, or tuned optimizers."""
    networks = results.cells[results.cells["cell"].isin(results.replicas["cell"])]
    if not len(networks):
        return ""
    tuned = networks["tuned"].fillna("")
    if not results.any_tuned:
        return (
            "Each cell ran with the hyperparameters of its configuration: this compares settings, not tuned "
            "optimizers; tuning=learning_rate compares those."
        )
    sentences = ["Hyperparameters were tuned on validation with seeds of their own; the scores are from fresh seeds."]
    untuned = list(networks.loc[tuned == "", "cell"])
    if untuned:
        sentences.append(f"Not tuned, so at a disadvantage: {_names(untuned)}.")
    if len(set(networks["num_trials"].dropna())) > 1:
        sentences.append(
            "Grids whose best value lay on the edge were extended, so the number of trials is not the same for all."
        )
    at_edge = list(networks.loc[networks["at_edge"].fillna(False).astype(bool), "cell"])
    if at_edge:
        sentences.append(f"Still at the edge of the grid, so perhaps not at its best: {_names(at_edge)}.")
    return " ".join(sentences)


def on_divergence(results: Results) -> str:
    """Return how many trainings diverged, by cell; nothing if none did."""
    boards = [results.board(name) for name in results.datasets]
    diverged = pd.concat([board[board["diverged"] > 0] for board in boards]) if boards else pd.DataFrame()
    if not len(diverged):
        return ""
    counts = ", ".join(f"{row.cell}: {row.diverged} of {row.seeds}" for row in diverged.itertuples())
    return (
        f"{diverged['diverged'].sum()} of {len(results.replicas)} trainings diverged and count as chance level "
        f"({counts})."
    )


def on_duplicates(results: Results) -> str:
    """Return how many results are there more than once; nothing if none is."""
    if results.coverage is None or not results.coverage.num_duplicates:
        return ""
    doubled = results.coverage.cells[results.coverage.cells["duplicates"] > 0]
    named = _names([f"{row.cell}: {row.duplicates + 1} results" for row in doubled.itertuples()])
    replaced = doubled[(doubled["damaged"] != "") & doubled["state"].isin(WITH_RESULT)]
    lost = _names([f"{row.cell}: {row.damaged}" for row in replaced.itertuples()])
    older = f" Where that is damaged, it is the one before it ({lost})." if lost else ""
    return f"Trained more than once ({named}); the newest result of each cell is the one that counts.{older}"


def _against(results: Results, dataset: str) -> pd.DataFrame:
    """Return the pairs of the best network of a data set as `_seen_from` does, in the order of the leaderboard."""
    leader = results.leader(dataset)
    place = {cell: number for number, cell in enumerate(results.board(dataset)["cell"])}
    rows = _seen_from(leader, results.pairs_of(dataset, leader))
    return rows.sort_values("other", key=lambda cells: cells.map(place), kind="stable", ignore_index=True)


def _all_diverged(board: pd.DataFrame) -> bool:
    """Whether no training of a leaderboard is left; those of which all seeds diverged stand at its end."""
    return bool(board["diverged"].iloc[0] == board["seeds"].iloc[0])


def _seen_from(leader: str, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of a leader with what it leads by: other, seeds, difference, low, high, p_holm, verdict."""
    ahead, behind = pairs[pairs["first"] == leader], pairs[pairs["second"] == leader]
    rows = ahead.assign(other=ahead["second"])
    if not len(behind):
        return rows
    behind = behind.assign(
        other=behind["first"],
        difference=-behind["difference"],
        low=-behind["high"],
        high=-behind["low"],
        verdict=behind["verdict"].replace("better", "worse"),
    )
    return pd.concat([rows, behind]) if len(rows) else behind


def _cells(rows: pd.DataFrame, num_others: int, every: str) -> str:
    """Name cells, with their numbers if they are few; the closest one alone has numbers if they are many."""
    named = [f"{row.other} ({_lead(row)})" for row in rows.itertuples()]
    if len(rows) <= MOST_WITH_NUMBERS:
        return "; ".join(named)
    if len(rows) <= MOST_NAMED:
        return f"{', '.join(rows['other'])}"
    share = f"{every} of the" if len(rows) == num_others else f"{len(rows)} of the"
    return f"{share} {num_others} other networks, of which the closest is {named[0]}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _lead(pair: Any) -> str:
    if pair.seeds == 0:
        return "no equal seeds"
    return _numbers(pair.difference, pair.low, pair.high, pair.seeds, pair.p_holm)


def _numbers(difference: float, low: float, high: float, num_seeds: int, p: float) -> str:
    if num_seeds == 1:
        return f"{_points(difference)} points on 1 equal seed"
    return (
        f"{_points(difference)} points, 95 % interval {_points(low)} to {_points(high)}, on {num_seeds} equal seeds, "
        f"p = {p:.3g} after Holm"
    )


def _interval(row: pd.Series) -> str:
    if row["seeds"] < 2:
        return ", from a single seed"
    return f" (95 % interval {row['low']:.2%} to {row['high']:.2%} over {row['seeds']} seeds)"


def _points(share: float) -> str:
    return f"{round(100 * share, 2) + 0:+.2f}"  # + 0, as no reader expects -0.00


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
