"""Batches of problems with thoughts, drawn on the fly and sorted into batches of similar length."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from foresight.tasks.reasoner import BOS, EOS, VOCABULARY, ReasonerTask, draw_chain, encode, make_problem
from reasoner.thoughts import Habits, closing, write_thought

IGNORED = -100
POOL = 32
"""Batches are cut from a pool of this many batches' worth of samples, sorted by length."""


@dataclass(frozen=True)
class Batch:
    """ids and targets [batch, length] (targets are shifted: the token that follows; IGNORED where none counts)."""

    ids: Tensor
    targets: Tensor


def draw_sample(rng: random.Random, split: str, habits: Habits, cut_share: float) -> tuple[list[int], list[int]]:
    """Return (ids, targets) of one problem with a thought.

    With probability `cut_share` the thought is cut at a random token and the probe suffix follows, then the answer that
    the thought was heading for; the suffix itself is not a target, so that the model never learns to cut by itself.
    """
    chain = draw_chain(rng, split)
    problem = make_problem(chain, rng)
    thought = write_thought(chain, habits, rng)
    body = encode(thought.text)
    end = VOCABULARY.index(EOS)
    if rng.random() < cut_share:
        cut = rng.randrange(len(body) + 1)
        answer = thought.forced[cut - 1] if cut else problem.answer
        suffix = encode(ReasonerTask.probe_suffix)
        new = [*body[:cut], *suffix, *encode(answer), end]
        silent = range(len(problem.prompt) + cut, len(problem.prompt) + cut + len(suffix))
    else:
        new = [*body, *encode(closing(thought.answer)), end]
        silent = range(0)
    ids = [*problem.prompt, *new]
    targets = [IGNORED] * (len(problem.prompt) - 1) + new + [IGNORED]
    for place in silent:
        targets[place - 1] = IGNORED
    assert ids[0] == VOCABULARY.index(BOS)
    return ids, targets


def collate(samples: list[tuple[list[int], list[int]]]) -> Batch:
    """Pad `samples` on the right."""
    length = max(len(ids) for ids, _ in samples)
    ids = torch.zeros(len(samples), length, dtype=torch.long)
    targets = torch.full((len(samples), length), IGNORED, dtype=torch.long)
    for row, (tokens, wanted) in enumerate(samples):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        targets[row, : len(wanted)] = torch.tensor(wanted)
    return Batch(ids, targets)


def cut_into_batches(samples: list[tuple[list[int], list[int]]], tokens: int) -> list[Batch]:
    """Sort by length and cut so that no batch holds more than about `tokens` places."""
    batches: list[Batch] = []
    group: list[tuple[list[int], list[int]]] = []
    for sample in sorted(samples, key=lambda pair: len(pair[0])):
        if group and len(sample[0]) * (len(group) + 1) > tokens:
            batches.append(collate(group))
            group = []
        group.append(sample)
    batches.append(collate(group))
    return batches


def training_batches(
    seed: int, first_pool: int, tokens: int, habits: Habits, cut_share: float
) -> Iterator[tuple[int, Batch]]:
    """Yield (pool number, batch) for ever, beginning with pool `first_pool`; a pool depends on its number only."""
    pool = first_pool
    while True:
        rng = random.Random(f"{seed}:{pool}")
        samples: list[tuple[list[int], list[int]]] = []
        total = 0
        while total < POOL * tokens:
            samples.append(draw_sample(rng, "train", habits, cut_share))
            total += len(samples[-1][0])
        batches = cut_into_batches(samples, tokens)
        rng.shuffle(batches)
        for batch in batches:
            yield pool, batch
        pool += 1


def validation_batches(habits: Habits, cut_share: float, count: int = 256, tokens: int = 8192) -> list[Batch]:
    """Return `count` fixed samples of the validation split."""
    rng = random.Random("validation")
    return cut_into_batches([draw_sample(rng, "validation", habits, cut_share) for _ in range(count)], tokens)
