"""How `foresight demo` looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from foresight.cli import branch_view
from foresight.cli.machine import show_bytes
from foresight.cli.measure import Controlled, Samples, Thought
from foresight.cli.screen import Screen

if TYPE_CHECKING:
    from foresight.cli.demo import Setting
    from foresight.tasks import Problem
    from foresight.trace_branches import BranchTrace

_MOST_VOTES_SHOWN = 6
_BRANCHES_SHOWN = 10


class DemoView:
    """Tells the story of a demo, part by part, in the order of its methods."""

    def __init__(self, setting: Setting, width: int, screen: Screen) -> None:
        self.setting = setting
        self.width = width
        self.screen = screen
        self._margin = True
        self._problems = 0

    def introduce(self, problems: Sequence[Problem]) -> None:
        screen, setting = self.screen, self.setting
        screen.line(screen.bold(f"Foresight {setting.version}") + "  the bundled reasoner")
        threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
        screen.line(screen.dim(f"{setting.processor}, {threads}, {setting.isa}"))
        size = show_bytes(setting.weight_bytes)
        screen.line(screen.dim(f"{size} of weights, loaded in {setting.load_seconds:.2f} s"))
        screen.heading("Problems it has never seen")
        screen.paragraph("Definitions in shuffled order, one question; all arithmetic is modulo 31.")
        screen.line()
        for problem in problems:
            screen.paragraph(problem.text, indent=2)

    def start_thought(self, problem: Problem) -> None:
        self.screen.heading("One thought, as it is written")
        self.screen.paragraph(problem.text, indent=2)
        self.screen.line()
        self._margin = True

    def show_text(self, text: str) -> None:
        """Write a piece of the thought, each line of it indented."""
        for piece in text.splitlines(keepends=True):
            self.screen.write(("    " if self._margin else "") + piece)
            self._margin = piece.endswith("\n")

    def end_thought(self, thought: Thought) -> None:
        if not self._margin:
            self.screen.line()
        self.screen.line()
        verdict = self.screen.good("right") if thought.right else self.screen.bad("wrong")
        note = "" if thought.right else f", it is {thought.problem.answer}"
        self.screen.line(f"  {verdict}{note}; {_count(thought.tokens, 'token')} in {thought.seconds:.2f} s")

    def start_votes(self) -> None:
        self.screen.heading(f"The same problem, {_count(self.width, 'thought')} at once")
        self.screen.status("  thinking ...")

    def show_votes(self, samples: Samples) -> None:
        """Show what many thoughts about the one problem say."""
        screen = self.screen
        screen.clear_status()
        votes = samples.votes(0).most_common()
        right = samples.problems[0].answer
        room = screen.width - 30
        for answer, number in votes[:_MOST_VOTES_SHOWN]:
            note = screen.good("right") if answer == right else ""
            screen.line(f"  {answer:>4}  {screen.bar(number / self.width, room)} {number:>4}  {note}".rstrip())
        others = sum(number for _, number in votes[_MOST_VOTES_SHOWN:])
        silent = self.width - sum(number for _, number in votes)
        for label, number in (("others", others), ("none", silent)):
            if number:
                screen.line(f"{label:>6}  {screen.bar(number / self.width, room)} {number:>4}")
        screen.line()
        screen.line(f"  {_speed(samples)}")

    def show_branches(self, trace: BranchTrace) -> None:
        """Show the branches of the one problem under a controller that probes them."""
        self.screen.heading("The same thoughts under a controller, which probes, prunes and stops them")
        branch_view.show_branches(trace, "parallel probe", self.screen, _BRANCHES_SHOWN, compact=True)

    def start_comparison(self, count: int) -> None:
        self._problems = count
        self.screen.heading(f"{_count(count, 'other problem')}, with and without a controller")
        self.show_progress(0)

    def show_progress(self, done: int) -> None:
        self.screen.status(f"  thinking ... {done:,} of {self._problems:,}")

    def show_comparison(self, found: Sequence[Controlled]) -> None:
        screen, full = self.screen, found[0]
        screen.clear_status()
        self._result("one thought", full.right_alone, full.finished)
        for entry in found:
            self._result(entry.name, entry.right, entry.problems)
        screen.line()
        head = ("branches", "sequential", "total", "probes", "seconds")
        screen.line(screen.dim(f"  {'tokens per problem':<18}" + "".join(f"{name:>11}" for name in head)))
        for entry in found:
            each = [n / entry.problems for n in (entry.sequential_tokens, entry.total_tokens, entry.probe_tokens)]
            cells = [
                f"{entry.controller.num_branches:,}",
                *(f"{tokens:,.0f}" for tokens in each),
                f"{entry.seconds:.2f}",
            ]
            screen.line(f"  {entry.name:<18}" + "".join(f"{cell:>11}" for cell in cells))
        screen.line()
        rate = full.total_tokens / max(full.seconds, 1e-9)
        screen.line(f"  full vote: {full.total_tokens:,} tokens, {rate:,.0f} tokens per second")
        rows = full.rows / max(full.forwards, 1)
        screen.line(f"  {_count(full.forwards, 'forward')} of the model, {rows:,.0f} rows in each on average")

    def close(self, found: Sequence[Controlled], seconds: float) -> None:
        screen, setting = self.screen, self.setting
        screen.line()
        screen.paragraph(
            f"Shares of right answers, on problems the model was not trained on: of single thoughts, and of problems under"
            f" each controller. Sequential tokens had to come one after another; total tokens are those of all branches"
            f" and of their probes, seconds those of all problems. Measured just now on this machine in {seconds:.0f} s, with"
            f" seed {setting.seed}; the same seed and --problems {found[0].problems} give the same answers."
        )

    def _result(self, label: str, right: int, asked: int) -> None:
        screen = self.screen
        share = right / asked
        bar = screen.bar(share, screen.width - 46)
        screen.line(f"  {label:<15} {bar} {share:>7.1%}  {right:,} of {asked:,}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _speed(samples: Samples) -> str:
    rate = samples.tokens / max(samples.seconds, 1e-9)
    return f"{samples.tokens:,} tokens in {samples.seconds:.2f} s: {rate:,.0f} tokens per second"
