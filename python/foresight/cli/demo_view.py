"""How `foresight demo` looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from foresight.cli.machine import show_bytes
from foresight.cli.measure import CUT_THOUGHTS, Forced, Samples, Thought
from foresight.cli.screen import Screen

if TYPE_CHECKING:
    from foresight.cli.demo import Setting
    from foresight.tasks import Problem

_MOST_VOTES_SHOWN = 6


class DemoView:
    """Tells the story of a demo, part by part, in the order of its methods."""

    def __init__(self, setting: Setting, width: int, screen: Screen) -> None:
        self.setting = setting
        self.width = width
        self.screen = screen
        self._margin = True

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

    def start_batch(self, count: int) -> None:
        sequences = count * self.width
        self.screen.heading(
            f"{_count(count, 'other problem')}, {_count(self.width, 'thought')} each: "
            f"{sequences:,} sequences in one batch"
        )
        self.screen.status("  thinking ...")

    def show_samples(self, samples: Samples) -> None:
        screen = self.screen
        screen.clear_status()
        thoughts, problems = len(samples.answers), len(samples.problems)
        self._result("one thought", samples.right_alone, thoughts)
        self._result(f"vote of {self.width}", samples.right_together, problems)
        screen.line()
        screen.line(f"  {_speed(samples)}")
        screen.line(f"  {_forwards(samples)}")

    def start_forcing(self) -> None:
        self.screen.heading("Thoughts cut short, the answer demanded at once")
        self.screen.status("  asking ...")

    def show_forced(self, forced: Forced) -> None:
        self.screen.clear_status()
        for depth, right in forced.right.items():
            self._result(f"after {depth:.0%}", right, forced.asked_per_depth)

    def close(self, samples: Samples, seconds: float) -> None:
        screen, setting = self.screen, self.setting
        screen.line()
        taken = min(CUT_THOUGHTS, self.width)
        screen.paragraph(
            f"Shares of right answers, on problems the model was not trained on: of single thoughts, "
            f"of problems after the vote, and of {_count(taken, 'thought')} per problem cut at a "
            f"share of its length. Measured just now on this machine in {seconds:.0f} s, with seed "
            f"{setting.seed}; the same seed and --problems {len(samples.problems)} give the same answers."
        )

    def _result(self, label: str, right: int, asked: int) -> None:
        screen = self.screen
        share = right / asked
        bar = screen.bar(share, screen.width - 44)
        screen.line(f"  {label:<13} {bar} {share:>7.1%}  {right:,} of {asked:,}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _speed(samples: Samples) -> str:
    rate = samples.tokens / max(samples.seconds, 1e-9)
    return f"{samples.tokens:,} tokens in {samples.seconds:.2f} s: {rate:,.0f} tokens per second"


def _forwards(samples: Samples) -> str:
    each = samples.rows / max(samples.forwards, 1)
    return f"{_count(samples.forwards, 'forward')} of the model, {each:,.0f} rows in each on average"
