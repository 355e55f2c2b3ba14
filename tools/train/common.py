"""What every training script shares: where runs are kept, checkpoints that a killed run resumes from, the schedule."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
RUNS = Path(__file__).resolve().parent / "runs"
MODELS = ROOT / "python" / "foresight" / "models"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that a kill at any moment leaves either the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return what `save_checkpoint` wrote, or None when there is nothing yet."""
    return torch.load(path, weights_only=True) if path.exists() else None


def learning_rate(step: int, steps: int, decay_steps: int, peak: float, warmup: int = 200) -> float:
    """Warm up, hold, then fall along a half cosine to a twentieth of `peak` over the last `decay_steps` steps."""
    if step < warmup:
        return peak * (step + 1) / warmup
    left = steps - step
    if left >= decay_steps:
        return peak
    return peak * (0.05 + 0.95 * 0.5 * (1 - math.cos(math.pi * left / decay_steps)))


def make_optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=0.0, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def set_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """Give every parameter the learning rate `rate`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def write_json(path: Path, content: dict[str, object]) -> None:
    """Write a file of a checkpoint folder."""
    path.write_text(json.dumps(content, indent=2) + "\n")
