"""fs.DraftHead, and its packed weights beside an engine."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foresight import _core
from foresight.core_config import core_config

if TYPE_CHECKING:
    from foresight.checkpoint.heads import DraftHeadConfig, HeadCheckpoint

__all__ = ["DraftHead", "core_head", "core_head_config"]


@dataclass(frozen=True)
class DraftHead:
    """A trained head that guesses from the model's hidden states: EAGLE-3, DFlash, DSpark or MTP, told by its files
    (docs/draft_heads.md).

    path: the head's folder or hub id; None: the MTP layer inside the model's own checkpoint.
    """

    path: str | os.PathLike[str] | None = None

    def load(self, target: Any, folder: Path | None) -> HeadCheckpoint:
        """Reads the head and checks it against `target`, a ModelConfig; folder: of the target's checkpoint.

        Raises CheckpointError for missing or broken files, ValueError where it does not fit the target or is of no
        known kind, NotImplementedError for what is not built.
        """
        from foresight.checkpoint.heads import load_head, load_own_head

        if self.path is not None:
            return load_head(self.path, target)
        if folder is None:
            raise ValueError("DraftHead: path is None, but the model does not come from a checkpoint that could hold MTP layers")
        return load_own_head(folder, target)


def core_head(head: HeadCheckpoint, engine: _core.Engine) -> _core.Head:
    """The head's packed weights beside those of `engine`, which must be the target's: pack once, use in many calls."""
    tensors = {name: (view.array, view.dtype, view.shape) for name, view in head.tensors.items()}
    to_target = [] if head.to_target is None else head.to_target.tolist()
    return _core.Head(
        engine, core_head_config(head.config), tensors, dtype=head.tensors["fc"].dtype, to_target=to_target
    )


def core_head_config(config: DraftHeadConfig) -> dict[str, Any]:
    """Every field by name, `model` as the core takes it."""
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {**fields, "model": core_config(config.model)}
