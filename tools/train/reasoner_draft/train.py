"""Train a draft model for the bundled reasoner. `python tools/train/reasoner_draft/train.py --help`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import MODELS, RUNS, learning_rate, load_checkpoint, make_optimizers, save_checkpoint, set_rate
from evaluate_reasoner import load_model
from qwen3 import Qwen3, Qwen3Config
from reasoner.data import IGNORED, Batch, cut_into_batches

from foresight import losses
from foresight.tasks.reasoner import VOCABULARY
from reasoner_draft.data import samples, training_batches

LossOf = Callable[[Qwen3, Qwen3, Batch], Tensor]
LK = {"lk_alpha": losses.lk_alpha, "lk_lambda": losses.lk_lambda, "lk_hybrid": losses.lk_hybrid}
CONFIG = Qwen3Config(vocab_size=len(VOCABULARY), hidden_size=96, num_hidden_layers=2, intermediate_size=288)


def loss_of(name: str) -> LossOf:
    """The loss called `name`, of a draft, its target and a batch: the mean over the batch's targets."""

    def cross_entropy(draft: Qwen3, _: Qwen3, batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = draft.logits(draft.hidden(batch.ids))
        return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)

    def lk(draft: Qwen3, target: Qwen3, batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                wanted = target.logits(target.hidden(batch.ids))
            logits = draft.logits(draft.hidden(batch.ids))
        return LK[name](logits, wanted, mask=batch.targets != IGNORED)

    return cross_entropy if name == "ce" else lk


def validation_loss(loss: LossOf, draft: Qwen3, target: Qwen3, batches: list[Batch]) -> float:
    """Mean loss per target over `batches`."""
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            targets = int((batch.targets != IGNORED).sum())
            total += loss(draft, target, batch).item() * targets
            count += targets
    return total / count


def train(options: argparse.Namespace) -> None:
    """Train, or carry on training, the run named after the loss."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    folder = RUNS / (options.run or f"reasoner-draft-{options.loss}")
    loss = loss_of(options.loss)
    target = load_model(MODELS / "reasoner")
    draft = Qwen3(CONFIG)
    optimizers = make_optimizers(draft)
    step, pool, seconds, best = 0, 0, 0.0, float("inf")
    state = load_checkpoint(folder / "last.pt")
    if state is not None:
        draft.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, pool, seconds, best = state["step"], state["pool"] + 1, state["seconds"], state["best"]
    source = samples("train", options.samples)
    held_out = cut_into_batches(samples("validation", 256), options.tokens)

    def checkpoint() -> dict[str, object]:
        return {
            "model": draft.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "config": asdict(CONFIG),
            "loss": options.loss,
            "step": step,
            "pool": pool,
            "seconds": seconds,
            "best": best,
        }

    mark, running = time.monotonic(), 0.0
    for next_pool, batch in training_batches(source, options.seed, pool, options.tokens):
        if next_pool != pool:
            save_checkpoint(folder / "last.pt", checkpoint())
        pool = next_pool
        if step == options.steps:
            break
        rate = learning_rate(step, options.steps, options.decay_steps, options.peak)
        set_rate(optimizers, rate)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        value = loss(draft, target, batch)
        value.backward()
        nn.utils.clip_grad_norm_(draft.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        running += value.item()
        now = time.monotonic()
        seconds, mark = seconds + now - mark, now
        if step % 50 == 0:
            print(f"step {step} loss {running / 50:.4f} rate {rate:.2e} seconds {seconds:.0f}", flush=True)
            running = 0.0
        if step % 250 == 0 or step == options.steps:
            measured = validation_loss(loss, draft, target, held_out)
            print(f"step {step} validation {measured:.4f}", flush=True)
            if measured < best:
                best = measured
                save_checkpoint(folder / "best.pt", checkpoint())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loss", choices=("ce", *LK), default="lk_lambda")
    parser.add_argument("--run", help="folder under tools/train/runs to keep, or resume; default: reasoner-draft-LOSS")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--decay-steps", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=4096, help="places per batch")
    parser.add_argument("--peak", type=float, default=5e-3, help="highest learning rate")
    parser.add_argument("--samples", type=int, default=20000, help="the reasoner's samples to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
