"""Checkpoint folders: config.json, safetensors, tokenizer and chat template, one file per format.

The core parses nothing: it gets a typed ModelConfig and named tensor views over mapped files. Files are untrusted;
everything is bounded and checked before it is used, and whatever is wrong is a CheckpointError naming the file.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.checkpoint.config import ModelConfig, parse_config, with_dtype
from foresight.checkpoint.json_limits import load_object
from foresight.checkpoint.resolve import bundled_names, resolve
from foresight.checkpoint.rope import RopeConfig, inverse_frequencies
from foresight.checkpoint.safetensors import TensorView
from foresight.checkpoint.shards import open_tensors
from foresight.checkpoint.template import ChatTemplate, load_chat_template
from foresight.checkpoint.tokenizer import StreamDecoder, Tokenizer, load_tokenizer
from foresight.checkpoint.weights import select_weights
from foresight.errors import CheckpointError

__all__ = [
    "ChatTemplate",
    "Checkpoint",
    "CheckpointError",
    "ModelConfig",
    "RopeConfig",
    "StreamDecoder",
    "TensorView",
    "Tokenizer",
    "bundled_names",
    "inverse_frequencies",
    "load",
    "parse_config",
    "resolve",
    "with_dtype",
]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a checkpoint folder holds."""

    path: Path
    config: ModelConfig
    tensors: dict[str, TensorView]  # by canonical name, see foresight.checkpoint.weights
    tokenizer: Tokenizer | None
    chat_template: ChatTemplate | None
    generation_config: dict[str, Any]  # as written, empty where there is none


def load(
    path_or_hub_id: str | os.PathLike[str],
    *,
    config: Mapping[str, Any] | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Checkpoint:
    """Reads a checkpoint from a folder, the hub ("org/name"), or the package itself ("bundled:name").

    `config` states what files do not say (attention, shifted, mask_token_id, block_length). The tensors stay in the
    mapped files until they are read. Raises CheckpointError for missing or broken files, NotImplementedError for a
    model that cannot be run, ValueError and TypeError for wrong arguments.
    """
    folder = resolve(path_or_hub_id, revision=revision, local_files_only=local_files_only)
    config_path = folder / "config.json"
    raw = load_object(config_path, allow_constants=True)
    generation_path = folder / "generation_config.json"
    generation = load_object(generation_path, allow_constants=True) if generation_path.exists() else {}
    model = parse_config(raw, generation, config, str(config_path))
    tensors = select_weights(model, open_tensors(folder), str(folder))
    if not _states_dtype(raw):
        model = with_dtype(model, tensors["embed"].dtype)
    model = dataclasses.replace(model, tie_word_embeddings="lm_head" not in tensors)
    return Checkpoint(
        path=folder,
        config=model,
        tensors=tensors,
        tokenizer=load_tokenizer(folder),
        chat_template=load_chat_template(folder),
        generation_config=generation,
    )


def _states_dtype(raw: Mapping[str, Any]) -> bool:
    text = raw.get("text_config")
    places = (raw, text) if isinstance(text, dict) else (raw,)
    return any(place.get(name) is not None for place in places for name in ("dtype", "torch_dtype"))
