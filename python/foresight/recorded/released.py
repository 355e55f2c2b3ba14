"""The format of the released Parallel-Probe traces (arXiv 2602.03845): one JSON list, an object for each question.

    {"question": text, "gold_answer": text, "probe_freq": 500, "final_answers_trace": [majority at each probe, ...],
     "each_branch": [[[answer at each probe, ...], tokens, final answer], ...]}

question, gold_answer and final_answers_trace may be missing; null is no answer.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foresight.atomic_file import atomic_writer
from foresight.recorded.records import MOST_BRANCHES, MOST_TOKENS, Branch, Question, is_text

__all__ = ["questions_from", "write_released"]

MOST_ANSWER = 4096  # characters
NO_ANSWER = "ERR"  # what the released traces say where no answer was found

_SHAPE = 'an object with "probe_freq" and "each_branch": [[probe answers], tokens, final answer]'


def questions_from(content: Any, name: str) -> list[Question]:
    """The questions of what the JSON holds. Raises ValueError that names question, branch and field."""
    if not isinstance(content, Sequence) or isinstance(content, str) or not content:
        raise ValueError(f"{name}: not recorded branches: {_shown(content)}, expected a list, each item {_SHAPE}")
    return [_question(item, f"{name}, question {number}") for number, item in enumerate(content)]


def _question(item: Any, label: str) -> Question:
    if not isinstance(item, Mapping) or "each_branch" not in item or "probe_freq" not in item:
        raise ValueError(f"{label}: {_shown(item)}, expected {_SHAPE}")
    freq = _count(item["probe_freq"], label, "probe_freq", least=1)
    branches = item["each_branch"]
    if not isinstance(branches, list) or not 1 <= len(branches) <= MOST_BRANCHES:
        raise ValueError(
            f"{label}: each_branch is {_shown(branches)}, expected a list of 1 to {MOST_BRANCHES} branches"
        )
    gold = item.get("gold_answer")
    if type(gold) is int:
        gold = str(gold)
    text = item.get("question", "")
    return Question(
        label=label,
        branches=[_branch(branch, freq, f"{label}, branch {number}") for number, branch in enumerate(branches)],
        gold=_answer(gold, label, "gold_answer"),
        probe_freq=freq,
        text=text if isinstance(text, str) else "",
    )


def _branch(item: Any, freq: int, label: str) -> Branch:
    if not isinstance(item, (list, tuple)) or len(item) != 3:
        raise ValueError(f"{label}: {_shown(item)}, expected [[probe answers], tokens, final answer]")
    answers, tokens, final = item
    if not isinstance(answers, list) or len(answers) * freq > MOST_TOKENS:
        raise ValueError(
            f"{label}: the probe answers are {_shown(answers)}, expected a list of at most {MOST_TOKENS // freq}"
        )
    for number, answer in enumerate(answers):
        if type(answer) is not str or len(answer) > MOST_ANSWER or not answer.isascii():
            _answer(answer, label, f"probe answer {number}")
    return Branch(
        num_tokens=_count(tokens, label, "tokens"),
        answer=_answer(final, label, "the final answer"),
        probe_tokens=list(range(freq, freq * len(answers) + 1, freq)),
        probe_answers=answers,
    )


def _answer(value: Any, label: str, field: str) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > MOST_ANSWER or not is_text(value)):
        raise ValueError(f"{label}: {field} is {_shown(value)}, expected a text of at most {MOST_ANSWER} characters")
    return value


def _count(value: Any, label: str, field: str, *, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= MOST_TOKENS:
        raise ValueError(f"{label}: {field} is {_shown(value)}, expected an integer from {least} to {MOST_TOKENS}")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object with {', '.join(sorted(map(ascii, value))[:8]) or 'nothing'}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    text = ascii(value)
    return text if len(text) <= 40 else text[:40] + "..."


def write_released(
    questions: Sequence[Question],
    path: str | os.PathLike[str],
    *,
    probe_freq: int | None = None,
    texts: Sequence[str] | None = None,
    gold: Sequence[str] | None = None,
) -> None:
    """Writes questions, of any format, as a file of the released one.

    probe_freq: tokens between probes; None: the questions' own. texts, gold: the questions and their right answers,
    where the records do not hold them. A branch without an answer has "ERR", as in the released files.

    The format cannot say when a branch's end was noticed, so that a replay of the written file charges a probing
    controller by whole rounds. Raises ValueError for what it has no place for: branches that a controller
    ended, and probes that are not at every multiple of probe_freq.
    """
    for name, given in (("texts", texts), ("gold", gold)):
        if given is not None and len(given) != len(questions):
            raise ValueError(f"{name} has {len(given)} entries for {len(questions)} questions")
    records = []
    for number, question in enumerate(questions):
        freq = probe_freq or question.probe_freq
        if not freq:
            raise ValueError(f"{question.label}: probe_freq is not known; give probe_freq=, tokens between two probes")
        each_branch = [
            _released_branch(branch, freq, f"{question.label}, branch {at}")
            for at, branch in enumerate(question.branches)
        ]
        records.append(
            {
                "question": question.text if texts is None else texts[number],
                "final_answers_trace": _majorities(each_branch),
                "each_branch": each_branch,
                "gold_answer": question.gold if gold is None else gold[number],
                "probe_freq": freq,
            }
        )
    with atomic_writer(Path(path)) as file:
        json.dump(records, file, ensure_ascii=False)


def _released_branch(branch: Branch, freq: int, label: str) -> list[Any]:
    if not branch.finished:
        raise ValueError(f"{label}: a controller ended it; the released format holds finished branches only")
    for number, tokens in enumerate(branch.probe_tokens, 1):
        if tokens != number * freq:
            raise ValueError(
                f"{label}: probe {number} lies at {tokens} tokens, and the released format has it at {number * freq}"
            )
    answers = [NO_ANSWER if answer is None else answer for answer in branch.probe_answers]
    return [answers, branch.num_tokens, NO_ANSWER if branch.answer is None else branch.answer]


def _majorities(each_branch: list[list[Any]]) -> list[str]:
    """The majority after each probe; a branch that has ended votes with its final answer."""
    rounds = max(len(answers) for answers, _, _ in each_branch)
    columns = (
        Counter(answers[at] if at < len(answers) else final for answers, _, final in each_branch)
        for at in range(rounds)
    )
    return [column.most_common(1)[0][0] for column in columns]
