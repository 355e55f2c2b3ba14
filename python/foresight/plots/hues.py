"""The colours of answers, which colour-blind people tell apart too, and what all pictures of branches call things."""

from __future__ import annotations

from collections import Counter

from foresight.trace_branches import BranchTrace

__all__ = ["HUES", "INK", "LANE", "NONE", "OTHER", "headline", "hue_of", "shortened"]

HUES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # Okabe and Ito
OTHER = "#8d8d99"  # answers that have no colour of their own
NONE = "#d9d9e0"  # no answer yet, or a probe without one
LANE = "#ececf1"
INK = "#33333d"


def hue_of(answer: str | None, answers: list[str]) -> str:
    """The colour of an answer; `answers` are those that have one of their own."""
    if answer is None:
        return NONE
    return HUES[answers.index(answer)] if answer in answers else OTHER


def shortened(answer: str, room: int = 24) -> str:
    """An answer in one line of at most `room` characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in answer).split())
    return text if len(text) <= room else text[: room - 1] + "\u2026"


def headline(trace: BranchTrace) -> str:
    """A line that says what happened."""
    counts = Counter(branch.status for branch in trace.branches)
    states = [f"{counts[s]:,} {s}" for s in ("finished", "pruned", "stopped", "running") if counts[s]]
    which = (
        f"{shortened(trace.controller, 40)}: {len(trace.branches):,} branch{'es' * (len(trace.branches) != 1)}, "
        + ", ".join(states)
    )
    if trace.outcome_clock is None:
        return which.rstrip(", ") + "; not finished"
    outcome = "no answer" if trace.answer is None else f"answer {shortened(trace.answer)}"
    outcome += "" if trace.winner is None else f" of branch {trace.winner}"
    return f"{which.rstrip(', ')}; {outcome} at {trace.outcome_clock:,} tokens"
