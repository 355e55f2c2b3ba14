"""What a file of recorded requests holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["MOST_BRANCHES", "MOST_TOKENS", "Branch", "Question", "Recording", "is_text"]

MOST_BRANCHES = 1 << 16
MOST_TOKENS = 1 << 27  # of a branch


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: halves of surrogate pairs cannot, and JSON may hold them."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass
class Branch:
    """One branch; None is no answer.

    num_tokens: those that it wrote. finished: it ended by itself; else a controller ended it, and what it would have
    written is not known. probe_tokens, probe_answers: how many tokens it had at each probe, rising, and what the probe
    read. confidences: (tokens, value), rising; a value holds until the next one.
    """

    num_tokens: int
    answer: str | None
    probe_tokens: list[int] = field(default_factory=list)
    probe_answers: list[str | None] = field(default_factory=list)
    confidences: list[tuple[int, float]] = field(default_factory=list)
    finished: bool = True


@dataclass
class Question:
    """The recorded branches of one request.

    label: names it in errors. gold: the right answer, None where nobody knows. probe_freq: of the released format: probe
    k of a branch, from 1, was read at k * probe_freq tokens, and a controller that probes hears of the branch's end in
    the first round that finds no probe; None: probes lie where they lie, and an end is heard of at its tokens.
    confidence_group: tokens of the groups whose confidences are recorded; None: nobody said.
    """

    label: str
    branches: list[Branch]
    gold: str | None = None
    probe_freq: int | None = None
    text: str = ""
    confidence_group: int | None = None

    def core(self) -> Any:
        """The same for the core."""
        from foresight import _core

        question = _core.RecordedQuestion(
            self.label, probe_grid=self.probe_freq or 0, confidence_group=self.confidence_group or 0
        )
        for branch in self.branches:
            question.add(
                num_tokens=branch.num_tokens,
                answer=branch.answer,
                probe_tokens=branch.probe_tokens,
                probe_answers=branch.probe_answers,
                confidences=branch.confidences,
                finished=branch.finished,
            )
        return question


@dataclass
class Recording:
    """The questions of one file."""

    file: str
    questions: list[Question]
