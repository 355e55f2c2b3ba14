"""The branch map: the branches of a request against tokens, what they said, how they ended, and the vote over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.plots.hues import HUES, INK, LANE, NONE, OTHER, headline, hue_of, shortened
from foresight.trace_branches import BranchTrace, read_branches
from foresight.trace_events import Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["branches", "check_size", "draw"]

MOST_MARKS = 200_000
_MARKERS = {"finished": "o", "pruned": "X", "stopped": "s", "running": ">"}
_NAMES = {"finished": "finished", "pruned": "pruned", "stopped": "stopped", "running": "the trace ends"}


def branches(path_or_events: Source, request: int | None = None) -> Figure:
    """Draws the branches of request number `request` of a trace; None: of the first that has a controller.

    A row per branch, tokens across; its colour is the last answer known of it, pale grey where there is none; white
    notches are probes, and the mark at its end says how it ended. A star is the winner. Below: the shares of the
    answers in the vote, as branches without the pruned ones cast it, finished or not.

    Needs matplotlib (ImportError). Raises ValueError where `path_or_events` is not a trace (the path of a file that
    `generate(..., branches=..., trace=path)` wrote, or its events) or has no such request.
    """
    return draw(read_branches(path_or_events, request))


def draw(trace: BranchTrace) -> Figure:
    """As branches, of a trace that has been read."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a picture needs matplotlib: pip install 'foresight-lm[plots]'") from None
    check_size(trace)
    answers = trace.ranked_answers[: len(HUES)]
    rows = len(trace.branches)
    with rc_context({"font.size": 9, "axes.edgecolor": "#b0b0ba", "text.color": INK, "axes.labelcolor": INK}):
        height = 2.6 + min(max(rows * 0.16, 1.6), 8.0)
        figure = Figure(figsize=(9.6, height), dpi=150, layout="constrained")
        grid = figure.add_gridspec(2, 1, height_ratios=[height - 2.3, 1.3])
        axes = figure.add_subplot(grid[0])
        votes = figure.add_subplot(grid[1], sharex=axes)
        _draw_branches(trace, answers, axes, min(1.0, 50 / max(rows, 1)))
        _draw_votes(trace, answers, votes)
        axes.set_xlim(0, max(trace.clock, 1) * 1.015)
        axes.tick_params(labelbottom=False)
        for one in (axes, votes):
            one.spines[["top", "right"]].set_visible(False)
            one.tick_params(color="#b0b0ba", labelcolor=INK)
        _draw_legends(trace, answers, axes, votes)
        title = figure.suptitle(headline(trace), x=0.01, ha="left", fontsize=11, fontweight="bold")
        title.set_parse_math(False)
    return figure


def check_size(trace: BranchTrace) -> None:
    """Raises ValueError for what nobody can see in a picture."""
    marks = len(trace.branches) + trace.num_probes
    if marks > MOST_MARKS:
        raise ValueError(f"{marks:,} branches and probes are too many for a picture of at most {MOST_MARKS:,}")


def _draw_branches(trace: BranchTrace, answers: list[str], axes: Axes, scale: float) -> None:
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    rows = {branch.number: row for row, branch in enumerate(trace.branches)}
    bars: list[Any] = []
    colours: list[str] = []
    notches: list[Any] = []
    for branch in trace.branches:
        row = rows[branch.number]
        for begin, end, said in branch.stretches():
            bars.append([(begin, row - 0.36), (end, row - 0.36), (end, row + 0.36), (begin, row + 0.36)])
            colours.append(hue_of(said, answers))
        for probe in branch.probes:
            at = branch.clock_at(probe.num_tokens)
            notches.append([(at, row - 0.36), (at, row + 0.36)])
    if trace.winner is not None:
        row = rows[trace.winner]
        axes.axhspan(row - 0.5, row + 0.5, color=LANE, lw=0, zorder=0)
        axes.plot(
            -0.012, row, marker="*", ms=9, color=INK, mec="none", clip_on=False, transform=axes.get_yaxis_transform()
        )
    axes.add_collection(PolyCollection(bars, facecolors=colours, linewidths=0, zorder=2))
    axes.add_collection(LineCollection(notches, colors="white", linewidths=0.8 * scale, zorder=3))
    for branch in trace.branches:
        if branch.parent in rows:
            ends = sorted((rows[branch.parent], rows[branch.number]))
            axes.plot([branch.start] * 2, ends, color=INK, lw=0.7 * scale, ls=":", zorder=4)
    for status, marker in _MARKERS.items():
        ended = [branch for branch in trace.branches if branch.status == status]
        if ended:
            where = [branch.clock for branch in ended], [rows[branch.number] for branch in ended]
            hues = [hue_of(None if status == "pruned" else branch.answer, answers) for branch in ended]
            edge: dict[str, Any] = {"edgecolors": INK, "linewidths": 0.8 * scale}
            axes.scatter(
                *where, s=30 * scale, marker=marker, c=hues, zorder=5, clip_on=False, label=_NAMES[status], **edge
            )
    numbers = [branch.number for branch in trace.branches]
    name = FuncFormatter(lambda row, _: str(numbers[int(row)]) if 0 <= row < len(numbers) and row == int(row) else "")
    axes.yaxis.set_major_locator(MaxNLocator(9, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(name)
    axes.tick_params(axis="y", pad=10)
    axes.set_ylim(max(len(numbers), 1) - 0.4, -0.6)
    axes.set_ylabel("branch")


def _draw_votes(trace: BranchTrace, answers: list[str], axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    series = [(clock, votes) for clock, votes in trace.vote_series(answers) if sum(votes)]
    if series:
        series.append((max(trace.clock, series[-1][0]), series[-1][1]))
        shares = [[votes[i] / sum(votes) for _, votes in series] for i in range(len(answers) + 1)]
        colours = [*HUES[: len(answers)], OTHER]
        axes.stackplot([clock for clock, _ in series], shares, colors=colours, step="post", linewidth=0)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set_ylabel("votes")
    axes.set_xlabel("tokens")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens:,.0f}"))


def _draw_legends(trace: BranchTrace, answers: list[str], axes: Axes, votes: Axes) -> None:
    from matplotlib.patches import Patch

    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "frameon": False, "borderaxespad": 0.0}
    cast = trace.votes
    patches = [Patch(color=HUES[i], label=f"{shortened(a)}  ({cast.get(a, 0):,})") for i, a in enumerate(answers)]
    others = len(trace.ranked_answers) - len(answers)
    if others:
        number = sum(votes for answer, votes in cast.items() if answer not in answers)
        patches.append(Patch(color=OTHER, label=f"{others:,} other{'s' * (others != 1)}  ({number:,})"))
    patches.append(Patch(color=NONE, label="no answer yet"))
    legend = axes.legend(handles=patches, title="answer (votes at the end)", alignment="left", **place)
    for text in legend.get_texts():
        text.set_parse_math(False)
    handles, names = axes.get_legend_handles_labels()
    if handles:
        ends = votes.legend(handles, names, title="how a branch ended", alignment="left", **place)
        for handle in ends.legend_handles:
            if handle is not None:
                handle.set(facecolor="white", sizes=[30])
