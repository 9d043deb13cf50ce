"""Methods (optimizers or activations) over many cells: critical differences, profiles, means, shares of variance."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter

from nnbench.analysis.plots.look import (
    begin_at,
    label,
    legend_beside,
    lowest_shown,
    mark_mean,
    name_rows,
    style_by_method,
)
from nnbench.analysis.ranks import Ranking

STEP = 0.3  # between the bars of two groups, where methods are 1 apart
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---")  # of sources of variance, so that they differ without colour
LAST = ("seed", "residual")  # sources of variance that come after the others
DECADE = 10  # factors up to which a profile's numbers are evenly apart
NARROW = 4  # per cent of a bar, in which there is no room for a number
TITLES = {
    "factor": ("time to target, as a multiple of the fastest", "seeds and cells that met the target (%)"),
    "threshold": ("test accuracy (%)", "seeds and cells above that (%)"),
}


def critical_differences(ranking: Ranking, ax: Axes) -> Axes:
    """Draw methods at their mean ranks, best at the left; a bar joins those that cannot be told apart.

    Two methods differ that are at least as far apart as the line "CD" is long. Demsar, 2006, figure 1.
    """
    table, num_methods = ranking.table, len(ranking.table)
    styles = style_by_method(list(table["method"]), ranking.by)
    top = STEP * (len(ranking.groups) + 1)
    num_left = (num_methods + 1) // 2
    for place, row in enumerate(table.itertuples()):
        left = place < num_left
        depth = top + (place if left else num_methods - 1 - place)
        end = 1 - 0.2 if left else num_methods + 0.2
        colour = styles[row.method]["color"]
        ax.plot([row.mean_rank, row.mean_rank, end], [0, depth, depth], color=colour, linewidth=1.2, clip_on=False)
        ax.plot(row.mean_rank, 0, marker=styles[row.method].get("marker", "o"), color=colour, clip_on=False, zorder=3)
        ax.text(
            end - 0.05 if left else end + 0.05,
            depth,
            f"{label(row.method)} ({row.mean_rank:.2f})",
            ha="right" if left else "left",
            va="center",
        )
    ranks = dict(zip(table["method"], table["mean_rank"], strict=True))
    for place, group in enumerate(ranking.groups):
        height = STEP * (place + 1)
        ax.plot(
            [ranks[group[0]] - 0.04, ranks[group[-1]] + 0.04], [height, height], color="black", linewidth=4,
            solid_capstyle="round",
        )  # fmt: skip
    ax.plot([1, 1 + ranking.critical_difference], [-1, -1], color="black", marker="|", clip_on=False)
    ax.text(1 + ranking.critical_difference / 2, -1.12, f"CD = {ranking.critical_difference:.2f}", ha="center")
    for side in ("left", "right", "bottom"):
        ax.spines[side].set_visible(False)
    ax.spines["top"].set_position(("data", 0))
    ax.xaxis.set_ticks_position("top")
    ax.xaxis.set_label_position("top")
    ax.set_yticks([])
    ax.set_xticks(range(1, num_methods + 1))
    ax.set(xlim=(1, num_methods), ylim=(top + num_left - 0.5, -1.6))
    num_blocks = table["blocks"].iloc[0]
    ax.set_title(
        f"mean rank in {num_blocks} blocks (1 is best); Friedman: p = {ranking.p:.2g}; "
        f"joined: not told apart at {ranking.alpha:g}",
        fontsize="small",
    )
    return ax


def profile(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a profile of `nnbench.analysis.profiles`: a step curve for each method with its 95 % band over seeds.

    The table has the method (optimizer or activation) in its first column and the threshold in its second, `factor` of
    a performance profile or `threshold` of a score profile; then share, low and high.
    """
    by, axis = table.columns[:2]
    per_cent = 100 if axis == "threshold" else 1
    styles = style_by_method(list(table[by].unique()), by)
    for name, of_method in table.groupby(by, sort=False, observed=True):
        # The last share holds for all larger thresholds.
        end = of_method.iloc[[-1]].assign(**{axis: 1.2 * of_method[axis].iloc[-1]})
        rows = pd.concat([of_method, end])
        places, colour = per_cent * rows[axis], styles[name]["color"]
        step = max(1, len(rows) // 8)
        ax.step(places, 100 * rows["share"], where="post", label=label(name), markevery=step, **styles[name])
        ax.fill_between(
            places, 100 * rows["low"], 100 * rows["high"], step="post", color=colour, alpha=0.15, linewidth=0
        )
    xlabel, ylabel = TITLES[axis]
    if axis == "factor":
        ax.set_xscale("log")
        end = float(table[axis].max())
        # In one decade 1, 2 and 5 would leave one or two numbers.
        narrow = FixedLocator(list(MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(1, 1.1 * end)))
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if end > DECADE else narrow)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlim(1, 1.1 * end)
    else:
        scores = 100 * table.loc[table[axis] > 0, axis].to_numpy()
        edge, end = lowest_shown(scores), max(scores, default=100.0)
        ax.set_xlim(edge - 0.05 * (end - edge) - 0.1, end + 0.05 * (end - edge) + 0.1)
    ax.set(xlabel=xlabel, ylabel=f"{ylabel}\n(band: 95 % over seeds)", ylim=(-4, 104))
    ax.grid(alpha=0.3)
    legend_beside(ax)
    return ax


def interquartile_means(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the interquartile mean of each optimizer with its 95 % interval over seeds, best on top.

    `table` is that of `nnbench.analysis.tables.interquartile_means`; its first column has the methods, which may be
    activations or cells. One far below the others is an arrow at the edge with its number.
    """
    by = table.columns[0]
    styles = style_by_method(list(table[by]), by)
    rows = table.dropna(subset="interquartile_mean").reset_index(drop=True)
    edge = lowest_shown(100 * rows[["interquartile_mean", "low"]].to_numpy())
    for place, row in rows.iterrows():
        style = styles[row[by]] if by == "optimizer" else {"color": "black"}
        colour, marker = style["color"], style.get("marker", "o")
        ax.plot([100 * row["low"], 100 * row["high"]], [place, place], color=colour, linewidth=3, alpha=0.6)
        mark_mean(
            ax, 100 * row["interquartile_mean"], place, edge, linestyle="", marker=marker, color=colour,
            markeredgecolor="black",
        )  # fmt: skip
    name_rows(ax, [str(name) for name in rows[by]])
    begin_at(ax, edge, 100 * pd.concat([rows["interquartile_mean"], rows["low"], rows["high"]]))
    num_cells = rows["cells"].max() if len(rows) else 0
    ax.set(
        xlabel=f"test accuracy (%): interquartile mean over {num_cells} cells each\n"
        "(middle half of all scores) and its 95 % interval over seeds",
        ylabel="",
    )
    return ax


def variance_shares(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw what part of the differences between trainings goes with each source: a bar in pieces, with per cent.

    `table` is that of `nnbench.analysis.variance.variance_shares`, or several of them below each other with the column
    `of`, which names each one's bar. A piece too narrow for its number has none; of a single bar the legend has all
    numbers. Raises ValueError where no bar has shares, as for a layout that is not balanced.
    """
    table = table.assign(of=table.get("of", "")).dropna(subset="share")
    bars = list(table["of"].unique())
    # What only one of several bars has comes before the seeds and the rest, as it does in that bar.
    sources = sorted(table["source"].unique(), key=lambda source: LAST.index(source) if source in LAST else -1)
    if not bars:
        raise ValueError(
            "there are no shares of variance; they take every optimizer with every activation, on the same seeds"
        )
    import seaborn as sns

    shades = sns.color_palette("Greys", n_colors=len(sources) + 2)[:-2]
    styles = {
        source: {"facecolor": shades[place], "hatch": HATCHES[place % len(HATCHES)], "edgecolor": "black"}
        for place, source in enumerate(sources)
    }
    words = {}
    for place, bar in enumerate(bars):
        shares = 100 * table[table["of"] == bar].set_index("source")["share"]
        ends = np.cumsum(shares)
        for source, share in shares.items():
            number = f"{share:.1f} %" if share < 10 else f"{share:.0f} %"
            words[source] = f"{label(source)}: {number}" if len(bars) == 1 else label(source)
            ax.barh(place, share, left=ends[source] - share, height=0.6, linewidth=0.8, **styles[source])
            if share >= NARROW:
                ax.text(
                    ends[source] - share / 2, place, number, ha="center", va="center", fontsize="small",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
                )  # fmt: skip
    name_rows(ax, [str(bar) for bar in bars])
    ax.grid(visible=False)
    if bars == [""]:
        ax.set_yticks([])
    ax.set(xlabel="share of the differences between trainings (%)", xlim=(0, 100))
    handles = [Patch(label=words[source], linewidth=0.8, **styles[source]) for source in sources]
    legend_beside(ax, handles=handles, handleheight=1.6)
    return ax
