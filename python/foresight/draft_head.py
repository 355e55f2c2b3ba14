"""fs.DraftHead, and its packed weights beside an engine."""

from __future__ import annotations

import dataclasses
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foresight import _core
from foresight.core_config import core_config

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig
    from foresight.checkpoint.heads import DraftHeadConfig, HeadCheckpoint

__all__ = ["DraftHead", "HeadMemo", "core_head", "core_head_config"]


@dataclass(frozen=True)
class DraftHead:
    """A trained head that guesses from the model's hidden states: EAGLE-3, DFlash, DSpark or MTP, told by its files
    (docs/draft_heads.md).

    path: the head's folder or hub id; None: the MTP layer inside the model's own checkpoint.
    """

    path: str | os.PathLike[str] | None = None
    _read: dict[tuple[ModelConfig, Path | None], HeadCheckpoint] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def load(self, target: ModelConfig, folder: Path | None) -> HeadCheckpoint:
        """Reads the head and checks it against its target, once; folder: of the target's checkpoint.

        Raises CheckpointError for missing or broken files, ValueError where it does not fit the target or is of no
        known kind, NotImplementedError for what is not built.
        """
        from foresight.checkpoint.heads import load_head, load_own_head

        key = (target, folder if self.path is None else None)
        if key not in self._read:
            if self.path is not None:
                self._read[key] = load_head(self.path, target)
            elif folder is not None:
                self._read[key] = load_own_head(folder, target)
            else:
                raise ValueError(
                    "DraftHead: path is None, but the model does not come from a folder that could hold MTP layers"
                )
        return self._read[key]


class HeadMemo:
    """The draft heads that have been packed beside a model."""

    def __init__(self) -> None:
        self._packed: dict[str, tuple[_core.Engine, _core.Head]] = {}
        self._lock = threading.Lock()

    def packed(self, head: DraftHead, engine: _core.Engine, target: ModelConfig, folder: Path | None) -> _core.Head:
        """The head's weights beside those of `engine`, packed at the first call. Raises as DraftHead.load does."""
        name = "" if head.path is None else os.fspath(head.path)
        with self._lock:
            owner, packed = self._packed.get(name, (None, None))
            if packed is None or owner is not engine:
                packed = core_head(head.load(target, folder), engine)
                self._packed[name] = (engine, packed)
            return packed


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
