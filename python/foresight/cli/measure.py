"""What `foresight demo` measures: thoughts of the bundled reasoner about held-out problems."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foresight.lm import LM
    from foresight.tasks import Problem, Task

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
CUT_THOUGHTS = 4
_ANSWER_TOKENS = 4


@dataclass(frozen=True)
class Thought:
    """One thought that was streamed, and whether its answer is right."""

    problem: Problem
    right: bool
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Samples:
    """`width` thoughts about each problem, written as one batch.

    new_tokens: width lists per problem, in the problems' order; answers: likewise.
    """

    problems: list[Problem]
    width: int
    new_tokens: list[list[int]]
    answers: list[str | None]
    forwards: int
    rows: int
    seconds: float

    @property
    def tokens(self) -> int:
        return sum(map(len, self.new_tokens))

    def votes(self, index: int) -> Counter[str]:
        """How often each answer was given to a problem."""
        group = self.answers[index * self.width : (index + 1) * self.width]
        return Counter(answer for answer in group if answer is not None)

    def winner(self, index: int) -> str | None:
        """The answer that most thoughts give to a problem; None where none gives any."""
        top = self.votes(index).most_common(1)
        return top[0][0] if top else None

    @property
    def right_alone(self) -> int:
        """Thoughts with the right answer."""
        wanted = (problem.answer for problem in self.problems for _ in range(self.width))
        return sum(got == want for got, want in zip(self.answers, wanted, strict=True))

    @property
    def right_together(self) -> int:
        """Problems that the majority gets right."""
        wins = (self.winner(index) == problem.answer for index, problem in enumerate(self.problems))
        return sum(wins)


@dataclass(frozen=True)
class Forced:
    """Answers demanded before the thought is finished: depth (share of the thought) -> right ones."""

    right: dict[float, int]
    asked_per_depth: int
    forwards: int
    seconds: float


def prompt_seeds(seed: int, first: int, count: int) -> list[int]:
    """The seeds of prompts `first`, `first` + 1, ... of a demo."""
    return [(seed << 24) + first + index for index in range(count)]


def stream_thought(lm: LM, task: Task, problem: Problem, seed: int, show: Callable[[str], None]) -> Thought:
    """Let the model think about `problem` once, handing out the text as it comes."""
    started = time.perf_counter()
    tokens: list[int] = []
    for event in lm.stream([problem.prompt], do_sample=True, seed=[seed]):
        tokens += event.tokens
        show(event.text or "")
    right = task.answer(tokens) == problem.answer
    return Thought(problem, right, len(tokens), time.perf_counter() - started)


def sample(lm: LM, task: Task, problems: Sequence[Problem], width: int, seeds: list[int]) -> Samples:
    """Write `width` thoughts about every problem."""
    started = time.perf_counter()
    out = _generate(
        lm, [problem.prompt for problem in problems], do_sample=True, num_return_sequences=width, seed=seeds
    )
    seconds = time.perf_counter() - started
    answers = [task.answer(tokens) for tokens in out.new_tokens]
    new_tokens = [list(tokens) for tokens in out.new_tokens]
    return Samples(list(problems), width, new_tokens, answers, out.stats.forwards, out.stats.rows, seconds)


def force_answers(lm: LM, task: Task, samples: Samples) -> Forced:
    """Cut some thoughts short at several depths and demand the answer at once."""
    from foresight.tasks.reasoner import ANSWER, encode

    assert task.probe_suffix is not None
    suffix, (marker,) = encode(task.probe_suffix), encode(ANSWER)
    prompts, wanted = [], []
    taken = min(CUT_THOUGHTS, samples.width)
    for depth in DEPTHS:
        for index, problem in enumerate(samples.problems):
            for thought in samples.new_tokens[index * samples.width : index * samples.width + taken]:
                length = thought.index(marker) if marker in thought else len(thought)
                prompts.append([*problem.prompt, *thought[: round(depth * length)], *suffix])
                wanted.append(problem.answer)
    started = time.perf_counter()
    out = _generate(lm, prompts, do_sample=False, max_new_tokens=_ANSWER_TOKENS)
    right = [task.answer(got) == want for got, want in zip(out.new_tokens, wanted, strict=True)]
    asked = len(prompts) // len(DEPTHS)
    by_depth = {depth: sum(right[row * asked : (row + 1) * asked]) for row, depth in enumerate(DEPTHS)}
    return Forced(by_depth, asked, out.stats.forwards, time.perf_counter() - started)


def _generate(lm: LM, prompts: list[list[int]], **options: Any) -> Any:
    return lm.generate(prompts, return_dict_in_generate=True, **options)
