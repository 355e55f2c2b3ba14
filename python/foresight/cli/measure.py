"""What `foresight demo` measures: thoughts of the bundled reasoner about held-out problems."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foresight.lm import LM
    from foresight.tasks import Problem, Task
    from foresight.trace_branches import BranchTrace

PROBLEMS_AT_ONCE = 24


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


@dataclass(frozen=True)
class Controlled:
    """The same problems and seeds under one controller, with what it took: sums over the problems.

    sequential_tokens: those that had to come one after another. total_tokens: of all branches, and of their probes,
    which are probe_tokens of them. right_alone: of branches that ended by themselves.
    """

    name: str
    controller: Any
    problems: int
    right: int
    finished: int
    right_alone: int
    sequential_tokens: int
    total_tokens: int
    probe_tokens: int
    forwards: int
    rows: int
    seconds: float

    def report(self) -> dict[str, Any]:
        """As JSON has it; tokens per problem."""
        return {
            "controller": type(self.controller).__name__,
            **self.controller.core_options(),
            "accuracy": self.right / self.problems,
            "sequential_tokens": round(self.sequential_tokens / self.problems, 2),
            "total_tokens": round(self.total_tokens / self.problems, 2),
            "probe_tokens": round(self.probe_tokens / self.problems, 2),
            "forwards": self.forwards,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
        }


def controllers(width: int) -> dict[str, Any]:
    """What is compared, by name. Parallel probe is scaled to the reasoner's thoughts, which are about 80 times shorter than
    those that its published parameters are for: of 54 settings over 120 problems of the validation split, the one with
    the fewest tokens in all at no less than the full vote's accuracy there.
    """
    from foresight.branches import LikelyLead, ParallelProbe, SelfConsistency

    auto = LikelyLead()
    return {
        "full vote": SelfConsistency(width),
        "parallel probe": ParallelProbe(width, interval=48, stable=2, patience=3, warmup=2),
        "auto": LikelyLead(min(width, auto.width)),
    }


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


def compare(
    lm: LM, problems: Sequence[Problem], width: int, seeds: list[int], show: Callable[[int], None]
) -> list[Controlled]:
    """Solve the same problems with the same seeds under every controller, a batch of some problems after the other.

    show: told after each batch how many problems are done.
    """
    found: dict[str, list[Controlled]] = {}
    for begin in range(0, len(problems), PROBLEMS_AT_ONCE):
        end = begin + PROBLEMS_AT_ONCE
        for name, controller in controllers(width).items():
            found.setdefault(name, []).append(_controlled(lm, name, controller, problems[begin:end], seeds[begin:end]))
        show(min(end, len(problems)))
    return [_together(batches) for batches in found.values()]


def _controlled(lm: LM, name: str, controller: Any, problems: Sequence[Problem], seeds: list[int]) -> Controlled:
    started = time.perf_counter()
    out = _generate(lm, [problem.prompt for problem in problems], do_sample=True, branches=controller, seed=seeds)
    seconds = time.perf_counter() - started
    wanted = [problem.answer for problem in problems]
    finished = [
        branch.answer == want
        for branches, want in zip(out.branches, wanted, strict=True)
        for branch in branches
        if branch.status == "finished"
    ]
    return Controlled(
        name=name,
        controller=controller,
        problems=len(problems),
        right=sum(got == want for got, want in zip(out.answers, wanted, strict=True)),
        finished=len(finished),
        right_alone=sum(finished),
        sequential_tokens=sum(stats.sequential_tokens for stats in out.stats.per_sequence),
        total_tokens=out.stats.generated_tokens + out.stats.probe_tokens,
        probe_tokens=out.stats.probe_tokens,
        forwards=out.stats.forwards,
        rows=out.stats.rows,
        seconds=seconds,
    )


def _together(batches: Sequence[Controlled]) -> Controlled:
    """The sums of several batches under the same controller."""
    names = [field.name for field in dataclasses.fields(Controlled) if field.name not in ("name", "controller")]
    sums: dict[str, Any] = {name: sum(getattr(batch, name) for batch in batches) for name in names}
    return dataclasses.replace(batches[0], **sums)


def trace_branches(lm: LM, problem: Problem, width: int, seed: int) -> BranchTrace:
    """The branches of one problem under parallel probe."""
    from foresight.trace_branches import read_branches

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        controller = controllers(width)["parallel probe"]
        _generate(lm, [problem.prompt], do_sample=True, branches=controller, seed=[seed], trace=path)
        return read_branches(path)


def _generate(lm: LM, prompts: list[list[int]], **options: Any) -> Any:
    return lm.generate(prompts, return_dict_in_generate=True, **options)
