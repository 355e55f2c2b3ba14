"""Chains of thought for the reasoner's training: how a fallible, sometimes careful writer solves a problem.

A thought is one or more passes over the definitions. A pass writes one line per variable, tersely (``c=12*6=10``) or
with the formula repeated (``c=b*6=12*6=10``), with or without a verdict on each line (`` ok``, or `` no`` and the line
again). Lines contain slips at a known rate, so that a model that learns the writer's habits slips too when it is
sampled, and independent samples disagree. The writer also misremembers some products, so that a few problems stay hard
however often they are tried. After a pass the writer answers, or says ``wait`` and makes another one;
when passes disagree, it goes on until two agree or it has made the most passes it makes.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from foresight.tasks.reasoner import ANSWER, MODULUS, Definition, apply, evaluate

MAX_PASSES = 4
SLIP_RATES = {"+": 0.04, "-": 0.05, "*": 0.08}


@dataclass(frozen=True)
class Habits:
    """How the writer behaves; probabilities."""

    slip_scale: float = 1.0
    restate: float = 0.45
    verdicts: float = 0.3
    wait_first: float = 0.6
    wait_after_agreement: float = 0.15


@dataclass
class Thought:
    """A written thought: its pieces of text, and after each piece the answer a forced stop should give."""

    pieces: list[str] = field(default_factory=list)
    forced: list[str] = field(default_factory=list)
    answer: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def slip(rng: random.Random, operator: str, left: int, right: int) -> tuple[int, int]:
    """Return (the left operand as written, the result as written) of a line that goes wrong."""
    kind = rng.random()
    if kind < 0.25:
        wrong = (left + rng.choice((-1, 1))) % MODULUS
        return wrong, apply(operator, wrong, right)
    if kind < 0.6:
        other = {"+": "-", "-": "+", "*": "+"}[operator]
        return left, apply(other, left, right)
    return left, (apply(operator, left, right) + rng.choice((-1, 1))) % MODULUS


def misremembered(left: int, right: int) -> float:
    """Return how often the writer takes `left * right` for `recalled(left, right)`: 0 for seven products of eight."""
    if (7 * left + 5 * right) % 8:
        return 0.0
    return 0.3 + 0.5 * ((3 * left + 11 * right) % 7) / 6


def recalled(left: int, right: int) -> int:
    """The wrong value of a misremembered product, always the same."""
    return (left * right + 5) % MODULUS


class Writer:
    """Writes one thought about one problem."""

    def __init__(self, chain: list[Definition], habits: Habits, rng: random.Random) -> None:
        self.chain, self.habits, self.rng = chain, habits, rng
        self.question = chain[-1].name
        self.finals: list[int] = []
        self.values: dict[str, int] = {}
        self.thought = Thought()

    def write(self) -> Thought:
        """Make passes until satisfied, and close with the answer."""
        while True:
            self._pass()
            if not self._wants_another():
                break
            self.values = {}
            self._add("wait")
            self._add("\n")
        self.thought.answer = str(self._settled())
        return self.thought

    def _settled(self) -> int:
        """The value most passes found; among equals the latest."""
        counts = Counter(self.finals)
        most = max(counts.values())
        return next(value for value in reversed(self.finals) if counts[value] == most)

    def _wants_another(self) -> bool:
        made = len(self.finals)
        if made >= MAX_PASSES:
            return False
        if made == 1:
            return self.rng.random() < self.habits.wait_first
        agreed = self.finals[-1] in self.finals[:-1]
        return not agreed or self.rng.random() < self.habits.wait_after_agreement

    def _add(self, piece: str) -> None:
        settled = self._settled() if self.finals else evaluate(self.chain, self.values)[self.question]
        self.thought.pieces.append(piece)
        self.thought.forced.append(str(settled))

    def _pass(self) -> None:
        restate = self.rng.random() < self.habits.restate
        verdicts = self.rng.random() < self.habits.verdicts
        for item in self.chain:
            while not self._line(item, restate, verdicts):
                pass
        self.finals.append(self.values[self.question])
        self.thought.forced[-1] = str(self._settled())

    def _line(self, item: Definition, restate: bool, verdicts: bool) -> bool:
        """Write one line; False when its verdict says that it must be written again."""
        for piece in (item.name, "="):
            self._add(piece)
        if not item.operator:
            self._close(item.name, int(item.left))
            self._add("\n")
            return True
        if restate:
            for piece in (item.left, item.operator, item.right, "="):
                self._add(piece)
        left, right = (self.values[side] if side.isalpha() else int(side) for side in (item.left, item.right))
        rate = SLIP_RATES[item.operator] * self.habits.slip_scale * (0.7 if restate else 1.3)
        written_left, result = left, apply(item.operator, left, right)
        slipped = self.rng.random() < rate
        if slipped:
            written_left, result = slip(self.rng, item.operator, left, right)
        elif item.operator == "*" and self.rng.random() < misremembered(left, right):
            result = recalled(left, right)
        for piece in (str(written_left), item.operator, str(right), "="):
            self._add(piece)
        self._close(item.name, result)
        accepted = True
        if verdicts:
            accepted = self.rng.random() >= (0.75 if slipped else 0.01)
            if not accepted:
                del self.values[item.name]
            self._add(" ok" if accepted else " no")
        self._add("\n")
        return accepted

    def _close(self, name: str, value: int) -> None:
        self.values[name] = value
        self._add(str(value))


def write_thought(chain: list[Definition], habits: Habits, rng: random.Random) -> Thought:
    """Return one thought about `chain`; different draws of `rng` give different lengths and different slips."""
    return Writer(chain, habits, rng).write()


def closing(answer: str) -> str:
    """The text that ends every sequence."""
    return ANSWER + answer
