"""The training loop over pools of token batches, from checkpoints that a killed run resumes from."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from common import learning_rate, load_checkpoint, make_optimizers, save_checkpoint, set_rate
from qwen3 import Qwen3, Qwen3Config
from reasoner.data import IGNORED, Batch
from torch import Tensor, nn

Loss = Callable[[Qwen3, Batch], Tensor]
"""The mean over a batch's targets."""


def validation_loss(loss: Loss, model: Qwen3, batches: list[Batch]) -> float:
    """Mean loss per target over `batches`."""
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            targets = int((batch.targets != IGNORED).sum())
            total += loss(model, batch).item() * targets
            count += targets
    return total / count


def train(
    folder: Path,
    config: Qwen3Config,
    loss: Loss,
    batches_from: Callable[[int], Iterator[tuple[int, Batch]]],
    held_out: list[Batch],
    options: argparse.Namespace,
    *,
    training_loss: Loss | None = None,
    keep_every: int | None = None,
) -> None:
    """Train, or carry on training, the run kept in `folder`.

    batches_from: (pool number, batch) for ever, beginning with a pool; a pool must depend on its number only.
    training_loss: a compiled `loss`. options: steps, decay_steps, peak, seed, threads. keep_every: steps between
    checkpoints that stay; last.pt is written at the end of a pool, best.pt where the validation loss is lowest.
    """
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model = Qwen3(config)
    optimizers = make_optimizers(model)
    step, pool, seconds, best = 0, 0, 0.0, float("inf")
    state = load_checkpoint(folder / "last.pt")
    if state is not None:
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, pool, seconds, best = state["step"], state["pool"] + 1, state["seconds"], state["best"]

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

    mark, running = time.monotonic(), 0.0
    for next_pool, batch in batches_from(pool):
        if next_pool != pool:
            save_checkpoint(folder / "last.pt", checkpoint())
        pool = next_pool
        if step == options.steps:
            break
        rate = learning_rate(step, options.steps, options.decay_steps, options.peak)
        set_rate(optimizers, rate)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        value = (training_loss or loss)(model, batch)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
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
            measured = validation_loss(loss, model, held_out)
            print(f"step {step} validation {measured:.4f}", flush=True)
            if measured < best:
                best = measured
                save_checkpoint(folder / "best.pt", checkpoint())
        if keep_every is not None and step % keep_every == 0:
            save_checkpoint(folder / f"step{step}.pt", checkpoint())


def add_options(parser: argparse.ArgumentParser, *, steps: int, decay_steps: int, tokens: int, peak: float) -> None:
    """The options of every such run, with this one's defaults."""
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--decay-steps", type=int, default=decay_steps)
    parser.add_argument("--tokens", type=int, default=tokens, help="places per batch")
    parser.add_argument("--peak", type=float, default=peak, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
