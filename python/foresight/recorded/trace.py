"""Recorded branches out of a trace of our own: lm.generate(..., branches=..., trace=path)."""

from __future__ import annotations

import os

from foresight.recorded.records import MOST_TOKENS, Branch, Question, is_text
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
    branches = [_branch(branch, f"{label}, branch {branch.number}") for branch in trace.branches]
    return Question(label, branches, confidence_group=trace.confidence_group)


def _branch(branch: TracedBranch, label: str) -> Branch:
    if branch.parent >= 0:
        raise ValueError(f"{label}: it is a fork of branch {branch.parent}; replay takes requests without forks")
    if branch.num_tokens > MOST_TOKENS:
        raise ValueError(f"{label}: {branch.num_tokens} tokens, expected at most {MOST_TOKENS}")
    for answer in (branch.answer, *(probe.answer for probe in branch.probes)):
        if answer is not None and not is_text(answer):
            raise ValueError(f"{label}: the answer {ascii(answer)[:40]} is no text")
    finished = branch.status == "finished"
    return Branch(
        num_tokens=branch.num_tokens,
        answer=branch.answer if finished else None,
        probe_tokens=[probe.num_tokens for probe in branch.probes],
        probe_answers=[probe.answer for probe in branch.probes],
        confidences=branch.confidences,
        finished=finished,
    )
