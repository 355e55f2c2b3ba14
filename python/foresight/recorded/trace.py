"""Recorded branches out of a trace of our own: lm.generate(..., branches=..., trace=path)."""

from __future__ import annotations

import os

from foresight.recorded.records import MOST_TOKENS, Branch, Question
from foresight.trace_branches import BranchTrace, TracedBranch, read_requests

__all__ = ["questions_of_trace"]


def questions_of_trace(path: str | os.PathLike[str]) -> list[Question]:
    """A question for each request that had a controller; its branches in the order in which they were started.

    A branch that the controller ended, or that the trace ends before, is recorded up to there. Raises ValueError, with
    the line or the request, for what is no trace, and for forks: replay draws branches that know nothing of each
    other.
    """
    name = os.fsdecode(path)
    return [_question(trace, f"{name}, request {trace.request}") for trace in read_requests(path)]


def _question(trace: BranchTrace, label: str) -> Question:
    if not trace.branches:
        raise ValueError(f"{label}: the trace ends before its first branch")
    return Question(label, [_branch(branch, f"{label}, branch {branch.number}") for branch in trace.branches])


def _branch(branch: TracedBranch, label: str) -> Branch:
    if branch.parent >= 0:
        raise ValueError(f"{label}: it is a fork of branch {branch.parent}; replay takes requests without forks")
    if branch.num_tokens > MOST_TOKENS:
        raise ValueError(f"{label}: {branch.num_tokens} tokens, expected at most {MOST_TOKENS}")
    finished = branch.status == "finished"
    return Branch(
        num_tokens=branch.num_tokens,
        answer=branch.answer if finished else None,
        probe_tokens=[probe.num_tokens for probe in branch.probes],
        probe_answers=[probe.answer for probe in branch.probes],
        # Told once for every event at which the controller looked; those of one clock are the same.
        confidences=list(dict(branch.confidences).items()),
        finished=finished,
    )
