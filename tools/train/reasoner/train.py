"""Train the bundled reasoner. `python tools/train/reasoner/train.py --help`; see tools/train/README.md."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RUNS, learning_rate, load_checkpoint, make_optimizers, save_checkpoint, set_rate
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


def validation_loss(model: Qwen3, batches: list[Batch]) -> float:
    """Mean loss per target over `batches`."""
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            targets = int((batch.targets != IGNORED).sum())
            total += loss_of(model, batch).item() * targets
            count += targets
    return total / count


def train(options: argparse.Namespace) -> None:
    """Train, or carry on training, the run `options.run`."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    folder = RUNS / options.run
    config = Qwen3Config(vocab_size=len(VOCABULARY))
    habits = Habits(slip_scale=options.slip_scale)
    model = Qwen3(config)
    optimizers = make_optimizers(model)
    step, pool, seconds, best = 0, 0, 0.0, float("inf")
    state = load_checkpoint(folder / "last.pt")
    if state is not None:
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, pool, seconds, best = state["step"], state["pool"] + 1, state["seconds"], state["best"]
    training_loss = loss_of if options.eager else torch.compile(loss_of, dynamic=True)
    held_out = validation_batches(habits, CUT_SHARE)

    def checkpoint() -> dict[str, object]:
        return {
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "config": asdict(config),
            "step": step,
            "pool": pool,
            "seconds": seconds,
            "best": best,
        }

    batches = training_batches(options.seed, pool, options.tokens, habits, CUT_SHARE)
    mark, running = time.monotonic(), 0.0
    for next_pool, batch in batches:
        if next_pool != pool:
            save_checkpoint(folder / "last.pt", checkpoint())
        pool = next_pool
        if step == options.steps:
            break
        rate = learning_rate(step, options.steps, options.decay_steps, options.peak)
        set_rate(optimizers, rate)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = training_loss(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        running += loss.item()
        now = time.monotonic()
        seconds, mark = seconds + now - mark, now
        if step % 50 == 0:
            print(f"step {step} loss {running / 50:.4f} rate {rate:.2e} seconds {seconds:.0f}", flush=True)
            running = 0.0
        if step % 250 == 0 or step == options.steps:
            measured = validation_loss(model, held_out)
            print(f"step {step} validation {measured:.4f}", flush=True)
            if measured < best:
                best = measured
                save_checkpoint(folder / "best.pt", checkpoint())
        if step % KEEP_EVERY == 0:
            save_checkpoint(folder / f"step{step}.pt", checkpoint())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="reasoner", help="folder under tools/train/runs to keep, or resume")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--decay-steps", type=int, default=140)
    parser.add_argument("--tokens", type=int, default=8192, help="places per batch")
    parser.add_argument("--peak", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--slip-scale", type=float, default=1.6, help="how often the training thoughts go wrong")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--eager", action="store_true", help="do not compile (no C++ compiler, or a short run)")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
