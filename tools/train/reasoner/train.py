"""Train the bundled reasoner. `python tools/train/reasoner/train.py --help`; see tools/train/README.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RUNS
from pooled import add_options, train
from qwen3 import Qwen3, Qwen3Config

from foresight.tasks.reasoner import VOCABULARY
from reasoner.data import IGNORED, Batch, training_batches, validation_batches
from reasoner.thoughts import Habits

CUT_SHARE = 0.25
KEEP_EVERY = 1000


def loss_of(model: Qwen3, batch: Batch) -> Tensor:
    """Mean cross-entropy over the batch's targets."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.logits(model.hidden(batch.ids))
        return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="reasoner", help="folder under tools/train/runs to keep, or resume")
    parser.add_argument("--slip-scale", type=float, default=1.6, help="how often the training thoughts go wrong")
    parser.add_argument("--eager", action="store_true", help="do not compile (no C++ compiler, or a short run)")
    add_options(parser, steps=1000, decay_steps=140, tokens=8192, peak=3e-3)
    options = parser.parse_args()
    habits = Habits(slip_scale=options.slip_scale)
    train(
        RUNS / options.run,
        Qwen3Config(vocab_size=len(VOCABULARY)),
        loss_of,
        lambda pool: training_batches(options.seed, pool, options.tokens, habits, CUT_SHARE),
        validation_batches(habits, CUT_SHARE),
        options,
        training_loss=None if options.eager else torch.compile(loss_of, dynamic=True),
        keep_every=KEEP_EVERY,
    )


if __name__ == "__main__":
    main()
