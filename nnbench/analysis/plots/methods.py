"""Methods (optimizers or activations) over many cells: critical differences and profiles."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from nnbench.analysis.plots.look import label, legend_beside, lowest_shown, style_by_method
from nnbench.analysis.ranks import Ranking

STEP = 0.3  # between the bars of two groups, where methods are 1 apart
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
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlim(1, 1.1 * table[axis].max())
    else:
        scores = 100 * table.loc[table[axis] > 0, axis].to_numpy()
        edge, end = lowest_shown(scores), max(scores, default=100.0)
        ax.set_xlim(edge - 0.05 * (end - edge) - 0.1, end + 0.05 * (end - edge) + 0.1)
    ax.set(xlabel=xlabel, ylabel=f"{ylabel}\n(band: 95 % over seeds)", ylim=(-4, 104))
    ax.grid(alpha=0.3)
    legend_beside(ax)
    return ax
