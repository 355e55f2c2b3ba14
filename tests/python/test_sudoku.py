"""The Sudoku task: puzzles with one solution, splits, checks; and the bundled models that solve them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight.generation_fields import FIELDS
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


def test_an_eos_leaves_nothing_open_behind_it() -> None:
    lm = fs.LM.bundled("sudoku")
    order = fs.MaskedDiffusion(order="left_to_right")
    whole = lm.generate([0] * 36, decoding=order, seed=0)
    cut = lm.generate([0] * 36, decoding=order, seed=0, eos_token_id=whole[4])
    assert cut == whole[: whole.index(whole[4]) + 1]
    array = lm.generate(np.zeros((1, 36), dtype=int), decoding=order, seed=0, eos_token_id=whole[4], pad_token_id=7)
    assert array[0].tolist() == cut + [7] * (36 - len(cut))
    # Given tokens behind it stay, and so an eos among the blanks ends nothing.
    given = [*[0] * 35, whole[35]]
    assert len(lm.generate(given, decoding=order, seed=0, eos_token_id=whole[4])) == 36


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


REFUSED = {
    "sequence_bias": [[[1], 2.0]],
    "encoder_repetition_penalty": 1.2,
    "repetition_penalty": 1.2,
    "no_repeat_ngram_size": 2,
    "encoder_no_repeat_ngram_size": 2,
    "bad_words_ids": [[1]],
    "forced_bos_token_id": 1,
    "forced_eos_token_id": 1,
    "exponential_decay_length_penalty": (1, 1.1),
    "begin_suppress_tokens": [1],
    "output_scores": True,
    "output_logits": True,
    "num_assistant_tokens": 3,
    "num_assistant_tokens_schedule": "constant",
    "assistant_early_exit": 2,
    "prompt_lookup_num_tokens": 3,
    "max_matching_ngram_size": 2,
}


def test_the_table_of_fields_that_cannot_act_on_masks() -> None:
    lm = fs.LM.bundled("sudoku")
    (problem,) = fs.tasks.get("sudoku").problems(1)
    assert {name for name, field in FIELDS.items() if field.canvas is not None} == REFUSED.keys()
    for name, value in REFUSED.items():
        with pytest.raises(NotImplementedError, match=name):
            lm.generate(problem.prompt, return_dict_in_generate=True, **{name: value})


def test_fields_that_act_on_masks() -> None:
    """Each leaves its trace on what is written, or on what is said about it."""
    lm = fs.LM.bundled("sudoku")
    blank = [0] * 36

    def write(**options: Any) -> list[int]:
        return lm.generate(blank, seed=3, **options)

    def sample(**options: Any) -> list[int]:
        return write(do_sample=True, **{"top_k": 0, "temperature": 3.0, **options})

    plain, drawn = write(), sample()
    assert 1 not in write(suppress_tokens=[1])
    assert drawn != plain
    assert sample(top_k=1) == plain
    assert sample(temperature=0.01) == plain
    for name, value in {
        "top_p": 0.2,
        "min_p": 0.9,
        "typical_p": 0.2,
        "epsilon_cutoff": 0.3,
        "eta_cutoff": 0.3,
        "top_h": 0.2,
    }.items():
        assert sample(**{name: value}) != drawn, name
    out = write(return_dict_in_generate=True, output_logprobs=2)
    assert len(out.logprobs[0]) == len(out.top_logprobs[0]) == 36
    several = lm.generate(blank, seed=3, do_sample=True, num_return_sequences=3)
    assert len({tuple(sequence) for sequence in several}) == 3
    assert write(guidance_scale=2.0, max_time=100.0, renormalize_logits=True, remove_invalid_values=True)
