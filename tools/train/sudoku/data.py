"""Sudoku puzzles for training: a pool from `fs.tasks`, varied by the symmetries of the grid, and three ways to mask.

Renaming digits, swapping rows within a band, bands, columns within a stack and stacks turns a minimal puzzle into
another one. Images whose solution belongs to the validation or test split are dropped, so those are never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foresight.tasks.sudoku import BLANK, BOX_COLUMNS, BOX_ROWS, CELLS, MASK, SIDE, SudokuTask, split_of

IGNORED = -100
KINDS = ("semi_causal", "causal", "multi_token")


@dataclass(frozen=True)
class Batch:
    """Inputs and targets [batch, length] (IGNORED where there is no loss), mask [batch or 1, 1, length, length]."""

    ids: Tensor
    targets: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class Pool:
    """Puzzles and their solutions, int64 [n, 36]."""

    puzzles: np.ndarray
    solutions: np.ndarray


def load_pool(cache: Path, size: int, split: str, seed: int = 0) -> Pool:
    """Return `size` puzzles of a split, made once and kept in the folder `cache`."""
    path = cache / f"{split}-{seed}-{size}.npz"
    if not path.exists():
        problems = SudokuTask().problems(size, seed=seed, split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            puzzles=np.array([p.prompt for p in problems]),
            solutions=np.array([[int(c) for c in p.answer] for p in problems]),
        )
        partial.replace(path)
    stored = np.load(path)
    return Pool(stored["puzzles"], stored["solutions"])


def _line_order(rng: np.random.Generator, group: int) -> np.ndarray:
    """A random order of the six rows or columns that keeps groups of `group` neighbours together."""
    groups = [start + rng.permutation(group) for start in range(0, SIDE, group)]
    return np.concatenate([groups[i] for i in rng.permutation(len(groups))])


def vary(pool: Pool, chosen: np.ndarray, rng: np.random.Generator) -> Pool:
    """Return random symmetric images of the `chosen` puzzles that belong to the training split."""
    cells = np.stack(
        [(_line_order(rng, BOX_ROWS)[:, None] * SIDE + _line_order(rng, BOX_COLUMNS)).ravel() for _ in chosen]
    )
    digits = np.zeros((len(chosen), SIDE + 1), dtype=np.int64)
    digits[:, 1:] = rng.permuted(np.tile(np.arange(1, SIDE + 1), (len(chosen), 1)), axis=1)
    row = np.arange(len(chosen))[:, None]
    puzzles = digits[row, pool.puzzles[chosen[:, None], cells]]
    solutions = digits[row, pool.solutions[chosen[:, None], cells]]
    kept = [i for i, solution in enumerate(solutions) if split_of(solution.tolist()) == "train"]
    return Pool(puzzles[kept], solutions[kept])


def semi_causal(pool: Pool, rng: np.random.Generator) -> Batch:
    """Mask blanks at random and give them a random order: clean cells see clean cells, the i-th mask those before it.

    The shares of masked cells are spread evenly over the batch. One forward trains every number of latent tokens.
    """
    n = len(pool.puzzles)
    share = (rng.permutation(n) + rng.random(n)) / n
    masked = (pool.puzzles == BLANK) & (rng.random((n, CELLS)) < share[:, None])
    order = rng.random((n, CELLS)).argsort(axis=1) + 1
    rank = torch.from_numpy(np.where(masked, order, 0))
    mask = rank[:, None, :] <= rank[:, :, None]
    ids = np.where(masked, BLANK, pool.solutions)
    targets = np.where(masked, pool.solutions, IGNORED)
    return Batch(_long(ids), _long(targets), mask[:, None])


def causal(pool: Pool, rng: np.random.Generator) -> Batch:
    """The puzzle, then its solution from left to right; the row before a cell predicts it."""
    del rng
    ids = np.concatenate([pool.puzzles, pool.solutions[:, :-1]], axis=1)
    targets = np.full(ids.shape, IGNORED, dtype=np.int64)
    targets[:, CELLS - 1 :] = pool.solutions
    return Batch(_long(ids), _long(targets), None)


def multi_token(pool: Pool, rng: np.random.Generator) -> Batch:
    """The puzzle, a beginning of its solution, then masks for all the rest, each predicted by its own row."""
    n = len(pool.puzzles)
    cut = rng.integers(0, CELLS, n)
    masked = np.arange(CELLS) >= cut[:, None]
    ids = np.concatenate([pool.puzzles, np.where(masked, MASK, pool.solutions)], axis=1)
    targets = np.full(ids.shape, IGNORED, dtype=np.int64)
    targets[:, CELLS:] = np.where(masked, pool.solutions, IGNORED)
    return Batch(_long(ids), _long(targets), torch.ones(1, 1, 2 * CELLS, 2 * CELLS, dtype=torch.bool))


def next_token_only(batch: Batch) -> Batch:
    """Keep the loss of the first mask of each sample: what left-to-right decoding uses."""
    place = (batch.targets != IGNORED).int().argmax(dim=1, keepdim=True)
    targets = torch.full_like(batch.targets, IGNORED).scatter(1, place, batch.targets.gather(1, place))
    return Batch(batch.ids, targets, batch.mask)


MAKERS = {"semi_causal": semi_causal, "causal": causal, "multi_token": multi_token}


def training_batches(kind: str, pool: Pool, size: int, seed: int, first_step: int) -> Iterator[Batch]:
    """Yield batches of about `size` samples; step i is the same in every run with this seed."""
    step = first_step
    while True:
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(0, len(pool.puzzles), size)
        yield MAKERS[kind](vary(pool, chosen, rng), rng)
        step += 1


def validation_batches(kind: str, pool: Pool, size: int = 512) -> list[Batch]:
    """Return the whole of `pool` once, with fixed masks."""
    rng = np.random.default_rng(0)
    parts = [slice(start, start + size) for start in range(0, len(pool.puzzles), size)]
    batches = [MAKERS[kind](Pool(pool.puzzles[part], pool.solutions[part]), rng) for part in parts]
    return [next_token_only(batch) for batch in batches] if kind == "multi_token" else batches


def _long(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))
