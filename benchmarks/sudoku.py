"""The latent dial, measured: accuracy on held-out puzzles by number of latent tokens and candidates, and its cost.

    python benchmarks/sudoku.py [--puzzles 1000] [--smoke]    -> benchmarks/results/sudoku.json

Every setting sees the same puzzles (test split, never trained on). Standard errors are those of a share; a paired
difference is given between no latents and the best number of them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from support.machine import describe_machine
from support.results import rounded, write_result

import foresight as fs

RESULT = Path(__file__).resolve().parent / "results" / "sudoku.json"
LATENTS = (0, 1, 2, 4, 8, 16, "all")
CANDIDATES = (1, 2, 4, 8)


def measure(lm: fs.LM, problems: list[Any], decoding: Any) -> tuple[dict[str, Any], np.ndarray]:
    """One setting: what it costs and which puzzles it solves."""
    task = fs.tasks.get("sudoku")
    prompts = [problem.prompt for problem in problems]
    out = lm.generate(prompts, decoding=decoding, seed=0, return_dict_in_generate=True)
    right = np.array([task.check(p, s) for p, s in zip(problems, out.sequences, strict=True)])
    n = len(problems)
    share = float(right.mean())
    facts = {
        "accuracy": rounded(share),
        "standard_error": rounded((share * (1 - share) / n) ** 0.5),
        "rows_per_puzzle": rounded(out.stats.rows / n),
        "latent_rows_per_puzzle": rounded(out.stats.latent_rows / n),
        "candidate_rows_per_puzzle": rounded(out.stats.candidate_rows / n),
        "forwards_per_puzzle": rounded(sum(s.forwards for s in out.stats.per_sequence) / n),
        "tokens_per_forward": rounded(out.stats.tokens_per_forward),
        "seconds_per_puzzle": rounded(out.stats.seconds / n),
    }
    return facts, right


def run(puzzles: int) -> dict[str, Any]:
    """All curves."""
    problems = fs.tasks.get("sudoku").problems(puzzles)
    lm = fs.LM.bundled("sudoku")
    dial: dict[str, Any] = {}
    solved: dict[tuple[int, Any], np.ndarray] = {}
    for candidates in CANDIDATES:
        for latents in LATENTS:
            decoding = fs.MaskedDiffusion(latent_tokens=latents, candidates=candidates)
            facts, solved[candidates, latents] = measure(lm, problems, decoding)
            dial.setdefault(f"{candidates} candidates", {})[str(latents)] = facts
            print(f"{candidates} candidates, {latents} latents: {facts}", file=sys.stderr, flush=True)
    full = fs.LM.bundled("sudoku", config={"attention": "full"})
    others = {
        "same weights under full attention, which they were not trained for": measure(
            full, problems, fs.MaskedDiffusion(candidates=8)
        )[0],
        "left to right, AR control": measure(fs.LM.bundled("sudoku-ar"), problems, fs.Autoregressive())[0],
        "left to right with 36 latents, AR + MTP control": measure(
            fs.LM.bundled("sudoku-mtp"), problems, fs.LatentAutoregressive(36)
        )[0],
        "left to right without latents, AR + MTP control": measure(
            fs.LM.bundled("sudoku-mtp"), problems, fs.LatentAutoregressive(1)
        )[0],
    }
    best = max(LATENTS, key=lambda latents: solved[8, latents].mean())
    difference = solved[8, best].astype(float) - solved[8, 0]
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe_machine(),
        "puzzles": puzzles,
        "dial": dial,
        "others": others,
        "no_latents_against_best": {
            "best_latents": best,
            "error_ratio": rounded(float((1 - solved[8, best].mean()) / max(1e-9, 1 - solved[8, 0].mean()))),
            "paired_difference": rounded(float(difference.mean())),
            "standard_error": rounded(float(difference.std(ddof=1) / puzzles**0.5)),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--puzzles", type=int, default=1000)
    parser.add_argument("--smoke", action="store_true", help="a few puzzles, nothing written")
    options = parser.parse_args()
    result = run(8 if options.smoke else options.puzzles)
    if not options.smoke:
        write_result(RESULT, result)


if __name__ == "__main__":
    main()
