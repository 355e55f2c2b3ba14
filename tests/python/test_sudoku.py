"""The Sudoku task: puzzles with one solution, splits, checks; and the bundled models that solve them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight.tasks import sudoku
from foresight.tasks.base import SPLITS


def valid(grid: list[int]) -> bool:
    digits = set(range(1, 7))
    cells = np.array(grid).reshape(6, 6)
    boxes = [cells[r : r + 2, c : c + 3].ravel() for r in (0, 2, 4) for c in (0, 3)]
    return all(set(map(int, unit)) == digits for unit in [*cells, *cells.T, *boxes])


@pytest.mark.parametrize("split", SPLITS)
def test_puzzles_are_minimal_and_have_one_solution(split: str) -> None:
    for problem in fs.tasks.get("sudoku").problems(20, seed=1, split=split):
        solution = [int(mark) for mark in problem.answer]
        assert valid(solution)
        assert all(given in (0, cell) for given, cell in zip(problem.prompt, solution, strict=True))
        assert problem.size == problem.prompt.count(0)
        assert sudoku.count_solutions(problem.prompt, limit=3) == 1
        assert sudoku.split_of(solution) == split
        for cell, given in enumerate(problem.prompt):
            if given:
                fewer = [*problem.prompt[:cell], 0, *problem.prompt[cell + 1 :]]
                assert sudoku.count_solutions(fewer) == 2


def test_renaming_digits_stays_in_the_split() -> None:
    (problem,) = fs.tasks.get("sudoku").problems(1)
    solution = [int(mark) for mark in problem.answer]
    assert sudoku.split_of([7 - digit for digit in solution]) == "test"


def test_problems_repeat_and_lists_begin_alike() -> None:
    task = fs.tasks.get("sudoku")
    assert task.problems(5, seed=2) == task.problems(9, seed=2)[:5]
    assert task.problems(5, seed=2) != task.problems(5, seed=3)


def test_check_reads_grids_filled_in_place_or_appended() -> None:
    task = fs.tasks.get("sudoku")
    (problem,) = task.problems(1)
    solution = [int(mark) for mark in problem.answer]
    assert task.check(problem, solution)
    assert task.check(problem, [*problem.prompt, *solution])
    assert not task.check(problem, problem.prompt)
    assert not task.check(problem, [*solution[:-1], solution[-1] % 6 + 1])


@pytest.fixture(scope="module")
def problems() -> list[Any]:
    return fs.tasks.get("sudoku").problems(100, seed=7)


def solved(problems: list[Any], sequences: list[list[int]]) -> float:
    task = fs.tasks.get("sudoku")
    return float(np.mean([task.check(p, s) for p, s in zip(problems, sequences, strict=True)]))


def test_latents_help_and_are_counted(problems: list[Any]) -> None:
    lm = fs.LM.bundled("sudoku")
    assert (lm.config.attention, lm.config.mask_token_id, lm.config.shifted) == ("semi_causal", 0, False)
    prompts = [problem.prompt for problem in problems]
    outs = {
        latents: lm.generate(
            prompts, decoding=fs.MaskedDiffusion(latent_tokens=latents), seed=0, return_dict_in_generate=True
        )
        for latents in (0, "all")
    }
    none, full = outs[0], outs["all"]
    assert none.stats.latent_rows == 0
    assert full.stats.latent_rows > 10 * len(problems)
    assert none.stats.rows < full.stats.rows
    assert solved(problems, full.sequences) >= 0.9
    assert solved(problems, full.sequences) > solved(problems, none.sequences)
    assert full.stats.exact
    assert all(
        given in (0, cell)
        for p, s in zip(prompts, full.sequences, strict=True)
        for given, cell in zip(p, s, strict=True)
    )


def test_controls_write_left_to_right(problems: list[Any]) -> None:
    prompts = [problem.prompt for problem in problems[:20]]
    alone = fs.LM.bundled("sudoku-ar").generate(prompts)
    assert all(len(sequence) == 72 for sequence in alone)
    latent = fs.LM.bundled("sudoku-mtp").generate(prompts, decoding=fs.LatentAutoregressive(36))
    assert solved(problems[:20], latent) > solved(problems[:20], alone)
    with pytest.raises(ValueError, match="learned only 72"):
        fs.LM.bundled("sudoku-ar").generate(prompts, max_new_tokens=37)


def test_infilling_text() -> None:
    lm = fs.LM.bundled("sudoku")
    (problem,) = fs.tasks.get("sudoku").problems(1)
    parts, gaps = [""], []
    for mark in problem.text:
        if mark != ".":
            parts[-1] += mark
        elif parts[-1] or not gaps:
            parts.append("")
            gaps.append(1)
        else:
            gaps[-1] += 1
    assert lm.infill(parts, gap_tokens=gaps, seed=0) == lm.tokenizer.decode(lm.generate(problem.prompt, seed=0))
    assert lm.infill([parts, parts], gap_tokens=gaps, seed=[0, 0])[0] == lm.infill(parts, gap_tokens=gaps, seed=[0])
    with pytest.raises(ValueError, match="gap_tokens is 0"):
        lm.infill(["1", "2"], gap_tokens=0)
    with pytest.raises(TypeError, match="two texts"):
        lm.infill(["1"])
    with pytest.raises(NotImplementedError, match="only continues"):
        fs.LM.bundled("reasoner").infill(["a", "b"])
