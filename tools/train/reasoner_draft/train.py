"""Train a draft model for the bundled reasoner. `python tools/train/reasoner_draft/train.py --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import MODELS, RUNS
from evaluate_reasoner import load_model
from pooled import Loss, add_options, train
from qwen3 import Qwen3, Qwen3Config
from reasoner.data import IGNORED, Batch, cut_into_batches

from foresight import losses
from foresight.tasks.reasoner import VOCABULARY
from reasoner_draft.data import samples, training_batches

LK = {"lk_alpha": losses.lk_alpha, "lk_lambda": losses.lk_lambda, "lk_hybrid": losses.lk_hybrid}
CONFIG = Qwen3Config(vocab_size=len(VOCABULARY), hidden_size=96, num_hidden_layers=2, intermediate_size=288)


def loss_of(name: str, target: Qwen3) -> Loss:
    """The loss called `name`, of a draft for `target`: the mean over a batch's targets."""

    def cross_entropy(draft: Qwen3, batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = draft.logits(draft.hidden(batch.ids))
        return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)

    def lk(draft: Qwen3, batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                wanted = target.logits(target.hidden(batch.ids))
            logits = draft.logits(draft.hidden(batch.ids))
        return LK[name](logits, wanted, mask=batch.targets != IGNORED)

    return cross_entropy if name == "ce" else lk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loss", choices=("ce", *LK), default="lk_lambda")
    parser.add_argument("--run", help="folder under tools/train/runs to keep, or resume; default: reasoner-draft-LOSS")
    parser.add_argument("--samples", type=int, default=20000, help="the reasoner's samples to train on")
    add_options(parser, steps=1200, decay_steps=500, tokens=4096, peak=5e-3)
    options = parser.parse_args()
    source = samples("train", options.samples)
    train(
        RUNS / (options.run or f"reasoner-draft-{options.loss}"),
        CONFIG,
        loss_of(options.loss, load_model(MODELS / "reasoner")),
        lambda pool: training_batches(source, options.seed, pool, options.tokens),
        cut_into_batches(samples("validation", 256), options.tokens),
        options,
    )


if __name__ == "__main__":
    main()
