"""Measure draft models of the reasoner, each as its run left it: what the target accepts, and what that makes of a round.

python tools/train/evaluate_reasoner_draft.py      # -> benchmarks/results/reasoner_draft.json
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import ROOT, RUNS
from evaluate_reasoner import machine
from reasoner.export import export

import foresight as fs
from foresight import losses

RUNS_BY_LOSS = {"ce": "cross-entropy on the target's samples", "lk_lambda": "LK, lambda form, eta 3"}


def teacher_forced(target: fs.LM, draft: fs.LM, sequences: list[list[int]], starts: list[int]) -> dict[str, object]:
    """The acceptance of single guesses behind the target's own samples, and of rounds if they were alike."""
    alphas = []
    for mine, theirs, start in zip(target.logits(sequences), draft.logits(sequences), starts, strict=True):
        rows = slice(start - 1, -1)
        alphas.append(losses.acceptance_rate(theirs[rows], mine[rows], reduction="none"))
    everywhere = np.concatenate(alphas)
    result: dict[str, object] = {"acceptance": float(everywhere.mean()), "positions": len(everywhere)}
    for count in (4, 7):
        windows = [np.lib.stride_tricks.sliding_window_view(row, count) for row in alphas if len(row) >= count]
        result[f"block_length_{count}"] = float(losses.expected_block_length(np.concatenate(windows)).mean())
    return result


def in_rounds(target: fs.LM, draft: fs.LM, prompts: list[list[int]]) -> dict[str, object]:
    """Tokens per forward and acceptance by place, sampled at temperature 1, by verification."""
    found: dict[str, object] = {}
    for verification in ("token", "block"):
        for count in (4, 7):
            measured = target.acceptance(
                prompts,
                draft,
                num_draft_tokens=count,
                verification=verification,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                max_new_tokens=256,
            )
            found[f"{verification}_{count}"] = {
                "tokens_per_forward": measured.tokens_per_forward,
                "rates": [round(rate, 4) for rate in measured.rates],
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "reasoner_draft.json")
    options = parser.parse_args()
    target = fs.LM.bundled("reasoner", dtype="float32")
    prompts = [problem.prompt for problem in fs.tasks.get("reasoner").problems(options.problems)]
    sequences = target.generate(prompts, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=512, seed=1)
    starts = [len(prompt) for prompt in prompts]
    runs = {}
    for loss, meaning in RUNS_BY_LOSS.items():
        with tempfile.TemporaryDirectory() as folder:
            export(RUNS / f"reasoner-draft-{loss}" / "best.pt", Path(folder) / "draft")
            draft = fs.LM.from_pretrained(Path(folder) / "draft", dtype="float32")
        runs[loss] = {
            "loss": meaning,
            "teacher_forced": teacher_forced(target, draft, sequences, starts),
            "rounds": in_rounds(target, draft, prompts),
        }
        print(loss, json.dumps(runs[loss], indent=1), flush=True)
    content = {
        "command": shlex.join(["python", "tools/train/evaluate_reasoner_draft.py", *sys.argv[1:]]),
        "machine": machine(),
        "runs": runs,
    }
    options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
