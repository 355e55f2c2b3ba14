"""The order map: which position of a sequence was decided at which step, and how surely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.trace_file import Decision, Source, Trace, read_trace, share_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = ["draw", "order_map"]

MOST_DECISIONS = 200_000
_GIVEN = "#e6e6ea"
_INK = "#33333d"
_PLAIN = "#3b6fb6"  # where there are no confidences
_FADED = 0.22
_LEAST_HEIGHT = 1 / 80  # of the axis, so that a decision among very many steps is seen
_PALETTE, _PALEST, _FULLEST = "YlGnBu", 0.25, 0.82  # what is paler is lost on white, what is fuller is black
_DENSE = 120  # positions or steps, beyond which cells touch each other


def order_map(path_or_events: Source, branch: int = 0) -> Figure:
    """Draws sequence `branch` of a trace: positions across, steps down, the colour is the confidence.

    A decision is a full cell, and the column below it keeps its colour, faded, until another one revises it. Given
    positions are grey; everything left of the line is final. Beside it: how many tokens each step decided.

    Needs matplotlib (ImportError). Raises ValueError where `path_or_events` is not a trace (the path of a file that
    `generate(..., trace=path)` wrote, or its events) or has no such sequence.
    """
    return draw(read_trace(path_or_events, branch))


def draw(trace: Trace) -> Figure:
    """As order_map, of a trace that has been read."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a picture needs matplotlib: pip install 'foresight-lm[plots]'") from None
    count = sum(len(step.decisions) for step in trace.steps)
    if count > MOST_DECISIONS:
        raise ValueError(f"{count:,} decisions are too many for a picture of at most {MOST_DECISIONS:,}")
    with rc_context({"font.size": 9, "axes.edgecolor": "#b0b0ba", "text.color": _INK, "axes.labelcolor": _INK}):
        figure = Figure(figsize=(9.6, 5.4), dpi=150, layout="constrained")
        grid = figure.add_gridspec(1, 2, width_ratios=[7, 1], wspace=0.02)
        axes = figure.add_subplot(grid[0])
        side = figure.add_subplot(grid[1], sharey=axes)
        _draw_map(trace, axes, side)
        _draw_counts(trace, side)
        figure.suptitle(_title(trace), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _title(trace: Trace) -> str:
    count, steps = len(trace.decided), len(trace.steps)
    title = f"{count:,} position{'s' * (count != 1)} decided in {steps:,} step{'s' * (steps != 1)}"
    if trace.revisions:
        title += f", {trace.revisions:,} revision{'s' * (trace.revisions != 1)}"
    return title + (f"  (sequence {trace.branch} of {trace.num_sequences:,})" if trace.num_sequences > 1 else "")


def _bounds(trace: Trace) -> tuple[float, float]:
    """Where the axis of steps begins and ends."""
    steps = [step.index for step in trace.steps] or [0]
    return steps[0] - 0.5, steps[-1] + 0.5


def _draw_map(trace: Trace, axes: Axes, side: Axes) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.ticker import MaxNLocator

    top, bottom = _bounds(trace)
    given = [p for p in range(trace.length) if trace.is_given(p)]
    for first, last in _runs(given):
        axes.axvspan(first - 0.5, last + 0.5, color=_GIVEN, lw=0, zorder=0)
    colours = _colours(trace)
    least = (bottom - top) * _LEAST_HEIGHT
    cells: list[Any] = []
    tails: list[Any] = []
    shades: list[Any] = []
    for position, decisions in trace.decided.items():
        ends = [*(float(later.step) - 0.5 for later in decisions[1:]), bottom]
        for decision, end in zip(decisions, ends, strict=True):
            shades.append(colours(decision))
            cells.append(_box(position, decision.step - 0.5, max(decision.step + 0.5, decision.step - 0.5 + least)))
            tails.append(_box(position, decision.step - 0.5, end))
    is_dense = max(trace.length, bottom - top) > _DENSE
    axes.add_collection(PolyCollection(tails, facecolors=shades, alpha=_FADED, linewidths=0, zorder=1))
    gap = 0.0 if is_dense else 0.6
    axes.add_collection(PolyCollection(cells, facecolors=shades, edgecolors="white", linewidths=gap, zorder=2))
    revised = [d for decisions in trace.decided.values() for d in decisions if d.revises]
    if revised:
        size = 4 if is_dense else 14
        where = [d.position for d in revised], [d.step for d in revised]
        axes.scatter(*where, s=size, marker="o", facecolors="none", edgecolors=_INK, lw=0.7, zorder=4, label="revised")
    _draw_final(trace, axes, is_dense)
    axes.set_xlim(-0.5, max(trace.length, 1) - 0.5)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("position" + (", given ones grey" if given else ""))
    axes.set_ylabel("step")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(9, integer=True, steps=[1, 2, 5, 10]))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color="#b0b0ba", labelcolor=_INK)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, borderpad=0.2, handlelength=1.6)
    span = trace.confidence_range()
    if span is not None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        scale = ScalarMappable(Normalize(*span), _palette())
        bar = axes.figure.colorbar(scale, ax=[axes, side], pad=0.015, aspect=32, label="confidence")
        bar.outline.set_visible(False)
        bar.ax.tick_params(color="#b0b0ba", labelcolor=_INK)


def _draw_final(trace: Trace, axes: Axes, is_dense: bool) -> None:
    """The lines that part what is final, and what is kept, from the rest."""
    if trace.length > trace.max_length:
        axes.axvline(trace.max_length - 0.5, color=_INK, lw=1.0, ls=":", zorder=3, label="cut off right of it")
    if all(decision.position < step.final for step in trace.steps for decision in step.decisions):
        return  # left to right: the decisions are the line
    start = trace.masks[0] if trace.masks else len(trace.prompt)
    across, down = [start - 0.5], [trace.steps[0].index - 0.5]
    for step in trace.steps:
        final = min(step.final, trace.length) - 0.5
        across += [across[-1], final]
        down += [step.index + 0.5, step.index + 0.5]
    if not is_dense:
        axes.plot(across, down, color="white", lw=3.0, zorder=3, solid_joinstyle="miter")
    width = 0.9 if is_dense else 1.6
    axes.plot(across, down, color="#d1495b", lw=width, zorder=3, solid_joinstyle="miter", label="final left of it")


def _draw_counts(trace: Trace, side: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    steps = trace.steps
    if not steps:
        return
    thin = 0.7 if len(steps) <= 120 else 1.0
    side.barh([s.index for s in steps], [len(s.decisions) for s in steps], height=thin, color="#9aa5b8", lw=0)
    side.set_xlabel("tokens per step")
    side.set_xlim(left=0)
    side.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    side.tick_params(left=False, labelleft=False, color="#b0b0ba", labelcolor=_INK)
    side.spines[["top", "right", "left"]].set_visible(False)


def _colours(trace: Trace) -> Any:
    from matplotlib.colors import to_rgba

    palette, span = _palette(), trace.confidence_range()

    def colour(decision: Decision) -> tuple[float, float, float, float]:
        share = share_of(decision.confidence, span)
        return to_rgba(_PLAIN) if share is None else palette(share)

    return colour


def _palette() -> Colormap:
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    whole = colormaps[_PALETTE]
    shades = [whole(_PALEST + (_FULLEST - _PALEST) * i / 31) for i in range(32)]
    return LinearSegmentedColormap.from_list("confidence", shades)


def _box(position: int, top: float, bottom: float) -> list[tuple[float, float]]:
    left, right = position - 0.5, position + 0.5
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _runs(positions: list[int]) -> list[tuple[int, int]]:
    """The first and last of each run of neighbours."""
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and runs[-1][1] == position - 1:
            runs[-1] = runs[-1][0], position
        else:
            runs.append((position, position))
    return runs
