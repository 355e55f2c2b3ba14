"""Chains of definitions, evaluated modulo 31: the bundled reasoner's problems.

A problem such as ``c=b*6;a=7;b=a+25;c?`` defines variables in shuffled order and asks for the last one; all arithmetic
is modulo 31. The model thinks one line per variable, may check itself and start over (``wait``), and ends with
``answer:6``.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from foresight.tasks.base import Problem, Task, require_split

MODULUS = 31
MIN_STEPS, MAX_STEPS = 2, 12
OPERATORS = "+-*"
PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
ANSWER = "answer:"
WORDS = (ANSWER, "wait", " ok", " no")
VOCABULARY = (
    *(PAD, BOS, EOS, UNK),
    *(str(number) for number in range(MODULUS)),
    *"abcdefghijklmnopqrstuvwxyz",
    *"+-*=;?\n ",
    *WORDS,
)
"""Every token; a token's id is its place here. The model's tokenizer.json is written from it."""
PIECES = r"answer:|wait| ok| no|30|[12][0-9]|[\s\S]"
"""The regular expression whose matches are the tokens of a text."""

_IDS = {token: index for index, token in enumerate(VOCABULARY)}
_SPECIAL = frozenset(_IDS[token] for token in (PAD, BOS, EOS, UNK))
_SPLIT_SHARES = {"train": (0, 90), "validation": (90, 95), "test": (95, 100)}


@dataclass(frozen=True)
class Definition:
    """One line of a problem: `name` is `left` `operator` `right`, or just `left` when the operator is empty.

    `left` and `right` are a variable's name or a number in decimal digits.
    """

    name: str
    left: str
    operator: str = ""
    right: str = ""

    @property
    def formula(self) -> str:
        return f"{self.left}{self.operator}{self.right}"


def apply(operator: str, left: int, right: int) -> int:
    """Compute `left operator right` modulo 31; `operator` is one of "+", "-", "*"."""
    if operator == "+":
        return (left + right) % MODULUS
    if operator == "-":
        return (left - right) % MODULUS
    return left * right % MODULUS


def evaluate(definitions: Iterable[Definition], known: dict[str, int] | None = None) -> dict[str, int]:
    """Return every variable's value, in the order of `definitions`, each of which uses only earlier ones.

    Values in `known` are taken as they are, right or wrong.
    """
    values = dict(known or {})
    for item in definitions:
        if item.name in values:
            continue
        operands = [values[side] if side.isalpha() else int(side) for side in (item.left, item.right) if side]
        values[item.name] = apply(item.operator, *operands) if item.operator else operands[0]
    return values


def encode(text: str) -> list[int]:
    """Return the token ids of `text`, without special tokens around it; unknown characters become <unk>."""
    return [_IDS.get(piece, _IDS[UNK]) for piece in re.findall(PIECES, text)]


def decode(ids: Iterable[int]) -> str:
    """Return the text of `ids`, special tokens and ids outside the vocabulary left out."""
    numbers = (int(index) for index in ids)
    return "".join(VOCABULARY[i] for i in numbers if 0 <= i < len(VOCABULARY) and i not in _SPECIAL)


def draw_definitions(rng: random.Random, steps: int) -> list[Definition]:
    """Draw a chain of one constant and `steps` operations, in an order in which it can be evaluated."""
    chain = [Definition("a", str(rng.randrange(MODULUS)))]
    for index in range(1, steps + 1):
        earlier = [item.name for item in chain]
        operator = rng.choice(OPERATORS)
        left = earlier[-1] if rng.random() < 0.85 else rng.choice(earlier)
        others = [name for name in earlier if name != left]
        if others and rng.random() < 0.35:
            right = rng.choice(others)
            if rng.random() < 0.5:
                left, right = right, left
        else:
            right = str(rng.randint(2, 9) if operator == "*" else rng.randint(1, MODULUS - 1))
        chain.append(Definition(chr(ord("a") + index), left, operator, right))
    return chain


def split_of(definitions: Iterable[Definition]) -> str:
    """Return the split a problem belongs to: a hash of its definitions, whatever their order in the text."""
    canonical = ";".join(sorted(f"{item.name}={item.formula}" for item in definitions))
    share = int.from_bytes(hashlib.blake2b(canonical.encode(), digest_size=8).digest(), "big") % 100
    return next(split for split, (low, high) in _SPLIT_SHARES.items() if low <= share < high)


def draw_chain(rng: random.Random, split: str) -> list[Definition]:
    """Draw definitions that belong to `split`; the number of operations is uniform between 2 and 12."""
    steps = rng.randint(MIN_STEPS, MAX_STEPS)
    while True:
        chain = draw_definitions(rng, steps)
        if split_of(chain) == split:
            return chain


def make_problem(chain: list[Definition], rng: random.Random) -> Problem:
    """Shuffle the definitions of `chain` into a problem that asks for the last one."""
    shuffled = rng.sample(chain, len(chain))
    question = chain[-1].name
    text = ";".join(f"{item.name}={item.formula}" for item in shuffled) + f";{question}?"
    answer = str(evaluate(chain)[question])
    return Problem(prompt=[_IDS[BOS], *encode(text + "\n")], answer=answer, text=text, size=len(chain) - 1)


class ReasonerTask(Task):
    """Problems for the bundled reasoner; `Problem.size` counts operations (2 to 12)."""

    name = "reasoner"
    models = ("reasoner",)
    probe_suffix = "\n" + ANSWER

    @property
    def probe_ids(self) -> list[int]:
        return encode(self.probe_suffix)

    def problems(self, n: int, seed: int = 0, split: str = "test") -> list[Problem]:
        require_split(n, split)
        rng = random.Random(f"{split}:{seed}")
        found: dict[str, Problem] = {}
        while len(found) < n:
            problem = make_problem(draw_chain(rng, split), rng)
            found.setdefault(problem.text, problem)
        return list(found.values())

    def answer(self, sequence: str | Iterable[int]) -> str | None:
        text = sequence if isinstance(sequence, str) else decode(sequence)
        _, marker, tail = text.rpartition(ANSWER)
        match = re.fullmatch(r"\s*(\d+)\s*", tail if marker else text)
        return str(int(match[1])) if match else None
