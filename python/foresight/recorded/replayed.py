"""What a controller would have decided over recorded branches: accuracy and tokens, over random draws."""

from __future__ import annotations

import functools
import math
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from foresight.branches import check_count
from foresight.controllers import core_controller, num_branches, resolve, with_width
from foresight.recorded.read import Source, read
from foresight.recorded.records import Question, Recording

__all__ = ["QuestionResult", "ReplayResult", "replay"]


@dataclass(frozen=True)
class QuestionResult:
    """The means over the draws of one question; accuracy and same_as_full_vote are NaN where nobody knows."""

    accuracy: float
    sequential_tokens: float
    total_tokens: float
    probes: float
    same_as_full_vote: float


@dataclass(frozen=True)
class ReplayResult:
    """A controller over the questions of one file; means over questions and draws, per question.

    accuracy: share of draws with the right answer, 0 to 1; NaN unless every question's right answer is known.
    sequential_tokens: the largest branch's tokens; those of branches that follow each other add up.
    total_tokens: of all branches that were started. probes: read; their own tokens count at probe_cost only.
    accuracy_standard_error: over questions. same_as_full_vote: share of draws whose answer is the majority of all
    branches of the draw; NaN where one of these was not recorded, or not to its end.
    """

    file: str
    questions: int
    accuracy: float
    sequential_tokens: float
    total_tokens: float
    probes: float
    accuracy_standard_error: float
    same_as_full_vote: float
    per_question: tuple[QuestionResult, ...] = field(default=(), repr=False)


def replay(
    files: Source | Iterable[Source],
    controller: Any,
    *,
    width: int | None = None,
    draws: int = 100,
    probe_cost: int = 0,
    gold: Sequence[Any] | None = None,
) -> list[ReplayResult]:
    """Lets a controller decide over recorded branches; one result for each file.

    files: one or several: paths (the released Parallel-Probe format, or a trace of lm.generate with branches=), or
    such records in memory. controller: what branches= takes, or a name. width: branches of each draw, and the
    controller's width; None: the controller's own.

    draws: for each question and draw d a new random.Random(d) shuffles the branches from the file's order, and the first
    `width` are taken; 0: one draw, in the file's order. probe_cost: tokens charged for each probe read.
    gold: the right answers of a file's questions, where it does not hold them; with several files, one list each.

    Raises ValueError for files that are none, and, naming question and branch, for what a record lacks of
    that which the controller needs: more branches, probes at other depths, confidences, forks, tokens that a branch
    was not allowed to write.
    """
    chosen = resolve(controller)
    if width is not None:
        chosen = with_width(chosen, width)
    check_count("draws", draws, least=0)
    check_count("probe_cost", probe_cost, least=0)
    recordings = [read(source) for source in _sources(files)]
    golds = _golds(gold, len(recordings))
    return [
        _replay_file(recording, answers, chosen, draws, probe_cost)
        for recording, answers in zip(recordings, golds, strict=True)
    ]


def _sources(files: Source | Iterable[Source]) -> list[Source]:
    if isinstance(files, (str, os.PathLike, Recording)):
        return [files]
    several: list[Any] = list(files)
    if not several:
        raise ValueError("no file to replay")
    return [several] if isinstance(several[0], Mapping) else several  # a Mapping: the records of one file


def _golds(gold: Sequence[Any] | None, num_files: int) -> list[Sequence[str] | None]:
    if gold is None:
        return [None] * num_files
    if isinstance(gold, str):
        raise TypeError(f"gold is {gold!r}, expected a list with an answer for each question")
    if num_files == 1 and all(isinstance(answer, str) for answer in gold):
        return [gold]
    if len(gold) != num_files or any(isinstance(answers, str) for answers in gold):
        raise ValueError(f"gold has {len(gold)} entries, expected a list of answers for each of {num_files} files")
    return list(gold)


def _replay_file(
    recording: Recording, gold: Sequence[str] | None, controller: Any, draws: int, probe_cost: int
) -> ReplayResult:
    questions = recording.questions
    if gold is not None and len(gold) != len(questions):
        raise ValueError(f"{recording.file}: gold has {len(gold)} answers for {len(questions)} questions")
    made = core_controller(controller)
    width = num_branches(controller)
    results = []
    for number, question in enumerate(questions):
        answer = question.gold if gold is None else gold[number]
        results.append(_replay_question(question, answer, made, width, draws, probe_cost))
    accuracies = [result.accuracy for result in results]
    return ReplayResult(
        file=recording.file,
        questions=len(results),
        accuracy=_mean(accuracies),
        sequential_tokens=_mean([result.sequential_tokens for result in results]),
        total_tokens=_mean([result.total_tokens for result in results]),
        probes=_mean([result.probes for result in results]),
        accuracy_standard_error=_standard_error(accuracies),
        same_as_full_vote=_mean([result.same_as_full_vote for result in results]),
        per_question=tuple(results),
    )


def _replay_question(
    question: Question, gold: str | None, controller: Any, width: int, draws: int, probe_cost: int
) -> QuestionResult:
    from foresight import _core

    orders = _orders(len(question.branches), width, draws)
    outcome = _core.replay(question.core(), orders, controller, probe_cost=probe_cost)
    right = math.nan if gold is None else _mean([float(answer == gold) for answer in outcome["answers"]])
    # A record may hold fewer branches than the controller could have started, and did not.
    is_full = width <= len(question.branches)
    same = [float(same) if is_full and same is not None else math.nan for same in outcome["same_as_full_vote"]]
    return QuestionResult(
        accuracy=right,
        sequential_tokens=float(outcome["sequential_tokens"].mean()),
        total_tokens=float(outcome["total_tokens"].mean()),
        probes=float(outcome["probes"].mean()),
        same_as_full_vote=_mean(same),
    )


@functools.lru_cache(maxsize=8)
def _orders(size: int, width: int, draws: int) -> list[list[int]]:
    """Which branches each draw has, in its order."""
    if draws == 0:
        return [list(range(min(width, size)))]
    orders = []
    for draw in range(draws):
        order = list(range(size))
        random.Random(draw).shuffle(order)
        orders.append(order[:width])
    return orders


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _standard_error(values: Sequence[float]) -> float:
    """Of the mean; NaN for a single value."""
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
