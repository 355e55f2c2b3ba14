"""Train a bundled Sudoku model. `python tools/train/sudoku/train.py --help`; see tools/train/README.md."""

from __future__ import annotations

import argparse
import copy
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

from foresight.tasks.sudoku import CELLS, VOCABULARY
from sudoku.data import IGNORED, KINDS, Batch, load_pool, training_batches, validation_batches

AVERAGE_DECAY = 0.998


def make_config(kind: str) -> Qwen3Config:
    """The left-to-right models hold the puzzle and its solution, the semi-causal one a single grid."""
    return Qwen3Config(
        vocab_size=len(VOCABULARY),
        hidden_size=128,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        intermediate_size=384,
        max_position_embeddings=CELLS if kind == "semi_causal" else 2 * CELLS,
        learned_positions=True,
    )


def loss_of(model: Qwen3, ids: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    """Mean cross-entropy over the targets."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.logits(model.hidden(ids, mask=mask))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def validation_loss(model: Qwen3, batches: list[Batch]) -> float:
    """Mean loss per target over `batches`."""
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            targets = int((batch.targets != IGNORED).sum())
            total += loss_of(model, batch.ids, batch.targets, batch.mask).item() * targets
            count += targets
    return total / count


def train(options: argparse.Namespace) -> None:
    """Train, or carry on training, the run `options.run`."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    folder = RUNS / (options.run or f"sudoku-{options.kind}")
    config = make_config(options.kind)
    model = Qwen3(config)
    optimizers = make_optimizers(model)
    step, seconds, best = 0, 0.0, float("inf")
    average = copy.deepcopy(model)  # of the weights over the last steps: what is validated and exported
    state = load_checkpoint(folder / "last.pt")
    if state is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, seconds, best = state["step"], state["seconds"], state["best"]
    training_loss = loss_of if options.eager else torch.compile(loss_of, dynamic=True)
    pool = load_pool(RUNS / "sudoku-puzzles", options.puzzles, "train")
    held_out = validation_batches(options.kind, load_pool(RUNS / "sudoku-puzzles", 2048, "validation"))

    def checkpoint() -> dict[str, object]:
        return {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "config": asdict(config),
            "kind": options.kind,
            "step": step,
            "seconds": seconds,
            "best": best,
        }

    mark, running = time.monotonic(), 0.0
    for batch in training_batches(options.kind, pool, options.batch, options.seed, step):
        if step >= options.steps:
            break
        set_rate(optimizers, learning_rate(step, options.steps, options.decay_steps, options.peak))
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = training_loss(model, batch.ids, batch.targets, batch.mask)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        with torch.no_grad():
            decay = min(AVERAGE_DECAY, step / (step + 10))
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - decay)
        running += loss.item()
        now = time.monotonic()
        seconds, mark = seconds + now - mark, now
        if step % 100 == 0:
            print(f"step {step} loss {running / 100:.4f} seconds {seconds:.0f}", flush=True)
            running = 0.0
        if step % 500 == 0 or step == options.steps:
            measured = validation_loss(average, held_out)
            print(f"step {step} validation {measured:.4f}", flush=True)
            if measured < best:
                best = measured
                save_checkpoint(folder / "best.pt", checkpoint())
            save_checkpoint(folder / "last.pt", checkpoint())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default="semi_causal")
    parser.add_argument("--run", help="folder under tools/train/runs to keep, or resume (default: sudoku-KIND)")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--decay-steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=256, help="puzzles per step, before those of other splits go")
    parser.add_argument("--puzzles", type=int, default=40000, help="puzzles in the pool, before symmetries")
    parser.add_argument("--peak", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--eager", action="store_true", help="do not compile (no C++ compiler, or a short run)")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
