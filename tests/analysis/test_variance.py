"""Sums of squares are those of a published analysis of variance, and always add up."""

import numpy as np
import pandas as pd
import pytest

from nnbench.analysis.variance import variance_shares

# Yates, 1935, Complex experiments: yields of oats, 6 blocks of 3 varieties at 4 levels of nitrogen; data set `oats` of
# the R package MASS (Venables & Ripley, 2002). Rows: Victory, Golden rain, Marvellous.
OATS = np.array(
    [
        [[111, 130, 157, 174], [117, 114, 161, 141], [105, 140, 118, 156]],
        [[61, 91, 97, 100], [70, 108, 126, 149], [96, 124, 121, 144]],
        [[68, 64, 112, 86], [60, 102, 89, 96], [89, 129, 132, 124]],
        [[74, 89, 81, 122], [64, 103, 132, 133], [70, 89, 104, 117]],
        [[62, 90, 100, 116], [80, 82, 94, 126], [63, 70, 109, 99]],
        [[53, 74, 118, 113], [89, 82, 86, 104], [97, 99, 119, 121]],
    ]
)


def replicas(values):
    """Return rows of (seeds, optimizers, activations)."""
    return pd.DataFrame(
        [
            {"optimizer": f"o{first}", "activation": f"a{second}", "seed": seed, "test/accuracy": value}
            for (seed, first, second), value in np.ndenumerate(values)
        ]
    )


def test_sums_of_squares_are_those_that_r_prints_for_oats():
    table = variance_shares(replicas(OATS)).set_index("source")

    # summary(aov(Y ~ N * V + Error(B / V), oats)): B 15875, V 1786, N 20020, N:V 322; its two strata of residuals,
    # 6013 on 10 and 7969 on 45 degrees of freedom, are one here.
    wanted = {"optimizer": (1786, 2), "activation": (20020, 3), "optimizer x activation": (322, 6), "seed": (15875, 5),
              "residual": (6013 + 7969, 55)}  # fmt: skip
    for source, (squares, freedom) in wanted.items():
        assert table.loc[source, "sum_of_squares"] == pytest.approx(squares, abs=1)
        assert table.loc[source, "degrees_of_freedom"] == freedom
    assert table["sum_of_squares"].sum() == pytest.approx(np.square(OATS - OATS.mean()).sum())
    assert table["share"].sum() == pytest.approx(1)


def test_a_planted_effect_takes_its_share():
    rng = np.random.default_rng(0)
    seeds, optimizers = rng.normal(size=(9, 1, 1)), rng.normal(size=(1, 4, 1))

    shares = variance_shares(replicas(seeds + optimizers + np.zeros((9, 4, 3)))).set_index("source")["share"]

    assert shares[["activation", "optimizer x activation", "residual"]].to_numpy() == pytest.approx(0, abs=1e-12)
    assert shares["seed"] == pytest.approx(seeds.var() / (seeds.var() + optimizers.var()))


def tuning(values):
    """Return rows of (optimizers, activations, trials, seeds)."""
    return pd.DataFrame(
        [
            {
                "optimizer": f"o{first}", "activation": f"a{second}", "trial": trial + 7 * first,
                "seed": seed, "val/selected_accuracy": value,
            }
            for (first, second, trial, seed), value in np.ndenumerate(values)
        ]
    )  # fmt: skip


def test_learning_rates_are_a_factor_within_each_cell():
    values = np.random.default_rng(1).normal(size=(3, 2, 5, 4))

    table = variance_shares(tuning(values), within="trial", metric="val/selected_accuracy").set_index("source")

    # The naive way: fit the means of each level by least squares, one model after the other.
    first, second, trial, seed = (index.ravel() for index in np.indices(values.shape))
    cell = first * 2 + second
    models = {"optimizer": first, "activation": second, "optimizer x activation": cell,
              "trial within cell": cell * 5 + trial, "seed": seed}  # fmt: skip
    design, before = np.ones((values.size, 1)), np.square(values - values.mean()).sum()
    for source, levels in models.items():
        design = np.hstack([design, np.eye(levels.max() + 1)[levels]])
        fitted = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
        rest = np.square(values.ravel() - fitted).sum()
        assert table.loc[source, "sum_of_squares"] == pytest.approx(before - rest)
        assert table.loc[source, "degrees_of_freedom"] == np.linalg.matrix_rank(design) - np.linalg.matrix_rank(
            design[:, : -levels.max() - 1]
        )
        before = rest
    assert table.loc["residual", "sum_of_squares"] == pytest.approx(before)
    assert table["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("lacking", ["row", "seed", "cell", "score", "doubled", "one seed"])
def test_an_unbalanced_layout_has_no_shares(lacking):
    full = replicas(OATS / 200)
    table = {
        "row": full.iloc[1:],
        "seed": full[(full["seed"] < 5) | (full["optimizer"] == "o0")],
        "cell": full[(full["optimizer"] != "o0") | (full["activation"] != "a0")],
        "score": full.assign(**{"test/accuracy": full["test/accuracy"].where(full.index != 3)}),
        "doubled": pd.concat([full.iloc[1:], full.iloc[[5]]]),
        "one seed": full[full["seed"] == 0],
    }[lacking]

    shares = variance_shares(table)

    assert list(shares["source"]) == ["optimizer", "activation", "optimizer x activation", "seed", "residual"]
    assert shares["share"].isna().all()
    assert shares["degrees_of_freedom"].isna().all()


def test_where_nothing_differs_there_are_no_shares():
    assert variance_shares(replicas(np.full((4, 2, 2), 0.1)))["share"].isna().all()


def test_several_data_sets_are_refused():
    table = replicas(OATS)
    with pytest.raises(ValueError, match="several data sets"):
        variance_shares(pd.concat([table.assign(dataset="digits"), table.assign(dataset="wine")]))
