"""fs.SuffixTree: guesses from what was written before, in this sequence and in others."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from foresight import _core
from foresight.atomic_file import atomic_writer
from foresight.errors import CheckpointError

__all__ = ["SuffixTree"]

_FORMAT = "foresight suffix tree"
_VERSION = "1"
_ARRAYS = {"tokens": np.int32, "lengths": np.int64, "prompts": np.uint64}


class SuffixTree:
    """Guesses by the most frequent continuations of the last tokens (SuffixDecoding, arXiv 2411.04975): in
    the sequence itself, in the answers to the same prompt, and in all answers that this object has seen.
    Answers are learned while they are written, in every call that uses the object; so the branches of a prompt
    draft from each other, and a second epoch of rollouts from the first. No weights. Safe to use from several
    threads.

    max_depth: tokens that are matched, and guessed, at most. min_probability: guesses end where their
    estimated probability falls below it. max_factor: at most that many guesses per matched token.
    max_tokens: of answers held; the oldest are dropped. Raises ValueError for options out of range, TypeError
    for those that are no numbers.
    """

    def __init__(
        self,
        max_depth: int = 24,
        min_probability: float = 0.1,
        max_factor: float = 1.0,
        *,
        max_tokens: int = 10_000_000,
    ) -> None:
        for name, value in (("max_depth", max_depth), ("max_tokens", max_tokens)):
            if not hasattr(value, "__index__") or isinstance(value, bool):
                raise TypeError(f"SuffixTree: {name} is {value!r}, expected an integer")
        for name, real in (("min_probability", min_probability), ("max_factor", max_factor)):
            if not isinstance(real, (int, float)) or isinstance(real, bool):
                raise TypeError(f"SuffixTree: {name} is {real!r}, expected a number")
        self.max_depth = max_depth
        self.min_probability = min_probability
        self.max_factor = max_factor
        self.max_tokens = max_tokens
        self._core = _core.SuffixTree(
            max_depth=max_depth, min_probability=min_probability, max_factor=max_factor, max_tokens=max_tokens
        )

    def __repr__(self) -> str:
        return (
            f"SuffixTree(max_depth={self.max_depth}, min_probability={self.min_probability},"
            f" max_factor={self.max_factor}, {len(self)} tokens held)"
        )

    def __len__(self) -> int:
        """Tokens of answers held, the few tokens before each included."""
        return len(self._core)

    def for_call(self) -> _core.Drafter:
        """The core's drafter for one call, over the shared answers."""
        return self._core.share()

    def add(self, tokens: Sequence[int], prompt: Sequence[int] = ()) -> None:
        """Adds a finished answer, and the prompt it answers."""
        self._core.add([int(token) for token in tokens], [int(token) for token in prompt])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the answers held to a file, at once or not at all."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        arrays.update(zip(_ARRAYS, self._core.held(), strict=True))
        metadata = {"format": _FORMAT, "version": _VERSION, "checksum": _checksum(arrays)}
        with atomic_writer(Path(path), binary=True) as file:
            file.write(save(arrays, metadata=metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> SuffixTree:
        """A tree with the answers of a file that `save` wrote; options as of the class.

        Raises fs.CheckpointError for a file that is missing, damaged or of another kind.
        """
        tree = cls(**options)
        arrays = _read(Path(path))
        try:
            tree._core.add_held(*arrays)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        return tree


def _read(path: Path) -> list[npt.NDArray[Any]]:
    if not path.is_file():  # a pipe would be waited for
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT or metadata.get("version") != _VERSION:
                raise CheckpointError(
                    f"{path} is no suffix tree of version {_VERSION}: its header says"
                    f" {metadata.get('format')!r}, version {metadata.get('version')!r}"
                )
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
    except (SafetensorError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: not a file that SuffixTree.save wrote: {error}") from error
    for name, dtype in _ARRAYS.items():
        if arrays[name].dtype != dtype or arrays[name].ndim != 1:
            raise CheckpointError(f"{path}: {name} is {arrays[name].dtype} of shape {arrays[name].shape}")
    if _checksum(arrays) != metadata.get("checksum"):
        raise CheckpointError(f"{path} is damaged: its checksum does not fit its content")
    return list(arrays.values())


def _checksum(arrays: dict[str, npt.NDArray[Any]]) -> str:
    value = 0
    for name in _ARRAYS:
        value = zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes(), value)
    return f"crc32 {value:08x}"
