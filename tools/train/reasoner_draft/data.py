"""What the draft model reads: the reasoner's own samples, drawn once by the engine and kept."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from common import RUNS
from reasoner.data import IGNORED, POOL, Batch, cut_into_batches

import foresight as fs

FOLDER = RUNS / "reasoner-draft-samples"
MAX_NEW = 768

Sample = tuple[list[int], list[int]]
"""(ids, targets): targets are shifted, and IGNORED before the first sampled token and after the last."""


def samples(split: str, count: int, seed: int = 0) -> list[Sample]:
    """One sample of the bundled reasoner, at temperature 1, for each of `count` problems of `split`."""
    path = FOLDER / f"{split}-{count}-{seed}.pt"
    problems = fs.tasks.get("reasoner").problems(count, seed, split)
    if not path.exists():
        lm = fs.LM.bundled("reasoner", dtype="float32", num_threads=1)
        output = lm.generate(
            [problem.prompt for problem in problems],
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=MAX_NEW,
            seed=seed,
            return_dict_in_generate=True,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(output.new_tokens, path)
    found = []
    for problem, new in zip(problems, torch.load(path, weights_only=True), strict=True):
        found.append(([*problem.prompt, *new], [IGNORED] * (len(problem.prompt) - 1) + new + [IGNORED]))
    return found


def training_batches(source: list[Sample], seed: int, first_pool: int, tokens: int) -> Iterator[tuple[int, Batch]]:
    """Yield (pool number, batch) for ever, beginning with pool `first_pool`; a pool depends on its number only.

    A pool is a random part of `source` of about POOL batches of `tokens` places.
    """
    mean = sum(len(ids) for ids, _ in source) / len(source)
    size = min(len(source), round(POOL * tokens / mean))
    pool = first_pool
    while True:
        rng = random.Random(f"{seed}:{pool}")
        batches = cut_into_batches(rng.sample(source, size), tokens)
        rng.shuffle(batches)
        for batch in batches:
            yield pool, batch
        pool += 1
