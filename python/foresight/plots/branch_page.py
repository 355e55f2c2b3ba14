"""The branch map as one page of HTML: a drawing inside it, a table, nothing loaded from elsewhere, no script."""

from __future__ import annotations

from html import escape

from foresight.plots.branch_map import check_size
from foresight.plots.hues import HUES, NONE, OTHER, headline, hue_of, shortened
from foresight.trace_branches import BranchTrace, TracedBranch

__all__ = ["branch_page"]

_WIDTH, _LEFT, _RIGHT, _TOP = 1100, 64, 90, 8
_VOTES, _GAP, _AXIS = 120, 34, 40

_STYLE = """
:root { color-scheme: light dark; --ink: #33333d; --soft: #77777f; --paper: #ffffff; --lane: #ececf1; --none: #d9d9e0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4ea; --soft: #a0a0aa; --paper: #17171c; --lane: #2a2a32; --none: #4a4a55; }
}
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1140px;
  margin: 24px auto; padding: 0 20px; }
h1 { font-size: 19px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 24px 0 8px; } p { margin: 2px 0; }
p, .soft { color: var(--soft); }
svg { width: 100%; height: auto; display: block; margin-top: 12px; } svg text { font-size: 11px; fill: var(--soft); }
.lane { fill: transparent; } .winner > .lane, .branch:hover > .lane { fill: var(--lane); }
.winner > text { fill: var(--ink); font-weight: 700; }
.none { fill: var(--none); } .notch { stroke: var(--paper); } .mark { stroke: var(--ink); fill: none; stroke-width: 1.6; }
.dot { stroke: var(--ink); } .fork { stroke: var(--ink); stroke-dasharray: 2 2; } .axis { stroke: var(--soft); }
.answers { display: flex; flex-wrap: wrap; gap: 4px 20px; padding: 0; list-style: none; }
.answers li::before { content: ""; display: inline-block; width: 11px; height: 11px; margin-right: 6px;
  background: var(--hue); border-radius: 2px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 2px 12px 2px 0; border-bottom: 1px solid var(--lane); } .n { text-align: right; }
tr.winner td { font-weight: 700; }
"""


def branch_page(trace: BranchTrace, name: str = "") -> str:
    """The page, as text. Raises ValueError for more branches and probes than a picture holds."""
    check_size(trace)
    answers = trace.ranked_answers[: len(HUES)]
    title = escape(headline(trace))
    facts = [f"{trace.clock:,} tokens one after another, {trace.total_tokens:,} in all"]
    if trace.num_probes:
        every = f" every {trace.probe_interval:,} tokens" if trace.probe_interval else ""
        facts.append(f"{trace.num_probes:,} probes{every}, with {trace.probe_tokens:,} tokens of their own")
    lines = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        *(
            f"<p>{escape(text)}</p>"
            for text in (shortened(name, 200), "; ".join(facts), shortened(trace.reason or "", 200))
            if text
        ),
        _drawing(trace, answers),
        _legend(trace, answers),
        _table(trace),
        "</body></html>\n",
    ]
    return "\n".join(lines)


class _Scale:
    """Where things are on the drawing: clocks across, one lane for each branch."""

    def __init__(self, trace: BranchTrace) -> None:
        self.clock = max(trace.clock, 1)
        self.lane = min(16.0, max(3.0, 720 / max(len(trace.branches), 1)))
        self.bottom = _TOP + self.lane * len(trace.branches)

    def x(self, clock: int) -> float:
        return round(_LEFT + clock / self.clock * (_WIDTH - _LEFT - _RIGHT), 2)


def _drawing(trace: BranchTrace, answers: list[str]) -> str:
    scale = _Scale(trace)
    height = scale.bottom + _GAP + _VOTES + _AXIS
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="branches against tokens">']
    rows = {branch.number: _TOP + scale.lane * (i + 0.5) for i, branch in enumerate(trace.branches)}
    for branch in trace.branches:
        parts.append(_branch(branch, branch.number == trace.winner, rows, scale, answers))
    parts += _votes(trace, answers, scale)
    for share in range(5):
        clock = scale.clock * share // 4
        x, y = scale.x(clock), height - _AXIS
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{y:g}" y2="{y + 4:g}"/>')
        parts.append(f'<text x="{x}" y="{y + 17:g}" text-anchor="middle">{clock:,}</text>')
    parts.append(f'<text x="{_LEFT}" y="{height - 6:g}">tokens</text></svg>')
    return "\n".join(parts)


def _branch(branch: TracedBranch, is_winner: bool, rows: dict[int, float], scale: _Scale, answers: list[str]) -> str:
    middle, half = rows[branch.number], scale.lane * 0.36
    top = round(middle - half, 2)
    parts = [
        f'<g class="branch{" winner" * is_winner}"><title>{escape(_tooltip(branch))}</title>',
        f'<rect class="lane" x="0" y="{middle - scale.lane / 2:g}" width="{_WIDTH}" height="{scale.lane:g}"/>',
    ]
    if scale.lane >= 9 or is_winner:
        label = f"{'&#9733; ' * is_winner}{branch.number}"
        parts.append(f'<text x="{_LEFT - 8}" y="{middle + 4:g}" text-anchor="end">{label}</text>')
    for begin, end, said in branch.stretches():
        x, hue = scale.x(begin), hue_of(said, answers)
        fill = 'class="none"' if hue == NONE else f'fill="{hue}"'
        parts.append(f'<rect {fill} x="{x}" y="{top}" width="{scale.x(end) - x:.2f}" height="{2 * half:.2f}"/>')
    notches = "".join(f"M{scale.x(branch.clock_at(probe.num_tokens))} {top}v{2 * half:.2f}" for probe in branch.probes)
    if notches:
        parts.append(f'<path class="notch" d="{notches}"/>')
    if branch.parent in rows:
        x = scale.x(branch.start)
        parts.append(f'<line class="fork" x1="{x}" x2="{x}" y1="{rows[branch.parent]:g}" y2="{middle:g}"/>')
    parts.append(_mark(branch, scale.x(branch.clock), middle, min(half, 5.0), answers))
    if scale.lane >= 9 and branch.answer is not None:
        words = escape(shortened(branch.answer, 12))
        parts.append(f'<text x="{scale.x(branch.clock) + 9:.2f}" y="{middle + 4:g}">{words}</text>')
    return "".join(parts) + "</g>"


def _mark(branch: TracedBranch, x: float, y: float, r: float, answers: list[str]) -> str:
    """How it ended: a dot finished, a cross pruned, a square stopped; an arrow where the trace ends."""
    if branch.status == "pruned":
        return (
            f'<path class="mark" d="M{x - r:.2f} {y - r:.2f}l{2 * r:g} {2 * r:g}m0 {-2 * r:g}l{-2 * r:g} {2 * r:g}"/>'
        )
    fill = hue_of(branch.answer, answers)
    if branch.status == "finished":
        return f'<circle class="dot" fill="{fill}" cx="{x}" cy="{y:g}" r="{r:g}"/>'
    if branch.status == "stopped":
        return f'<rect class="dot" fill="{fill}" x="{x - r:.2f}" y="{y - r:.2f}" width="{2 * r:g}" height="{2 * r:g}"/>'
    return f'<path class="mark" d="M{x:.2f} {y - r:.2f}l{r:g} {r:g}l{-r:g} {r:g}"/>'


def _tooltip(branch: TracedBranch) -> str:
    parts = [f"branch {branch.number}: {branch.status} at {branch.num_tokens:,} tokens"]
    if branch.reason:
        parts.append(shortened(branch.reason, 100))
    if branch.answer is not None:
        parts.append(f"answer {shortened(branch.answer, 60)}")
    if branch.parent >= 0:
        parts.append(f"forked from {branch.parent} after {branch.inherited:,} tokens")
    if branch.probes:
        parts.append(f"{len(branch.probes):,} probes")
    if branch.confidences:
        parts.append(f"confidence {branch.confidences[-1][1]:.4g} at last")
    return "\n".join(parts)


def _votes(trace: BranchTrace, answers: list[str], scale: _Scale) -> list[str]:
    """The stack of shares: one area for each answer, in steps."""
    series = [(clock, votes) for clock, votes in trace.vote_series(answers) if sum(votes)]
    top, bottom = scale.bottom + _GAP, scale.bottom + _GAP + _VOTES
    parts = [f'<text x="{_LEFT}" y="{top - 8:g}">shares of the vote, the answer that won at the bottom</text>']
    for share in (0, 50, 100):
        parts.append(
            f'<text x="{_LEFT - 8}" y="{bottom - share / 100 * _VOTES + 4:g}" text-anchor="end">{share} %</text>'
        )
    if not series:
        return parts
    ends = [clock for clock, _ in series[1:]] + [max(trace.clock, series[-1][0])]
    sums = [0] * len(series)
    for place in range(len(answers) + 1):
        lower, upper = list(sums), [s + votes[place] for s, (_, votes) in zip(sums, series, strict=True)]
        sums = upper
        if lower == upper:
            continue
        edges: list[str] = []
        for side, order in ((upper, range(len(series))), (lower, reversed(range(len(series))))):
            for i in order:
                y = round(bottom - side[i] / sum(series[i][1]) * _VOTES, 2)
                clocks = (series[i][0], ends[i]) if side is upper else (ends[i], series[i][0])
                edges += [f"{scale.x(clock)} {y}" for clock in clocks]
        label = escape(shortened(answers[place], 60)) if place < len(answers) else "all others"
        fill = HUES[place] if place < len(answers) else OTHER
        parts.append(f'<path fill="{fill}" d="M{"L".join(edges)}Z"><title>{label}</title></path>')
    return parts


def _legend(trace: BranchTrace, answers: list[str]) -> str:
    cast = trace.votes
    entries = [(HUES[i], shortened(answer, 60), cast.get(answer, 0)) for i, answer in enumerate(answers)]
    others = len(trace.ranked_answers) - len(answers)
    if others:
        votes = sum(number for answer, number in cast.items() if answer not in answers)
        entries.append((OTHER, f"{others:,} other{'s' * (others != 1)}", votes))
    items = [
        f'<li style="--hue: {hue}">{escape(text)} <span class="soft">{votes:,}</span></li>'
        for hue, text, votes in entries
    ]
    items.append('<li style="--hue: var(--none)">no answer yet</li>')
    marks = "A dot: finished. A cross: pruned. A square: stopped. A notch: a probe. The star: the winner."
    return f'<h2>Answers, and their votes at the end</h2><ul class="answers">{"".join(items)}</ul><p>{marks}</p>'


def _table(trace: BranchTrace) -> str:
    rows = []
    for branch in trace.branches:
        cells = [
            f'<td class="n">{branch.number}</td><td class="n">{branch.num_tokens:,}</td><td>{branch.status}</td>',
            f"<td>{escape(shortened(branch.answer or '', 60))}</td>",
            f'<td class="n">{len(branch.probes):,}</td><td>{escape(shortened(branch.reason, 100))}</td>',
        ]
        rows.append(f"<tr{' class=winner' * (branch.number == trace.winner)}>{''.join(cells)}</tr>")
    head = '<tr><th class="n">branch</th><th class="n">tokens</th><th>status</th><th>answer</th><th class="n">probes</th><th>why</th></tr>'
    return f'<h2>Branches</h2><div class="scroll"><table>{head}{"".join(rows)}</table></div>'
