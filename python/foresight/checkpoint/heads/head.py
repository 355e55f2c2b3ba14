"""What all draft heads share: their typed description, and the tensors of their layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foresight.checkpoint.config import ModelConfig, parse_config
from foresight.checkpoint.fields import shown
from foresight.checkpoint.safetensors import SafetensorsFile, TensorView
from foresight.errors import CheckpointError

__all__ = ["DraftHeadConfig", "HeadCheckpoint", "HeadTensors", "checked_layers", "head_model", "to_target"]

_EMBED, _OUTPUT = "embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True, slots=True)
class DraftHeadConfig:
    """Everything that the core needs to know about a draft head besides its tensors."""

    kind: str  # "eagle3" | "mtp" | "dflash"
    model: ModelConfig  # of its own layers; vocab_size: of its output
    qk_norm: bool
    target_layers: tuple[int, ...]  # 0: the embedding, i: after layer i, the last one after the final norm
    target_hidden_size: int
    target_vocab_size: int
    norm_offset: float = 0.0
    norm_before_residual: bool = False
    norm_before_fc: bool = False
    feature_first: bool = False
    block_length: int = 0
    mask_token: int = -1
    predicts_next: bool = False
    causal: tuple[bool, ...] = ()
    markov: str = ""  # "" | "vanilla" | "gated" | "rnn"
    markov_rank: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class HeadCheckpoint:
    """A draft head as its folder holds it. to_target: per token of the head the target's; None: the same."""

    path: Path
    config: DraftHeadConfig
    tensors: dict[str, TensorView]
    to_target: npt.NDArray[np.int32] | None


class HeadTensors:
    """Collects tensors by canonical name, under a shape check; a name may lie behind "model."."""

    def __init__(self, files: Mapping[str, SafetensorsFile], folder: Path) -> None:
        self.files = files
        self.folder = folder
        self.views: dict[str, TensorView] = {}

    def find(self, name: str) -> str | None:
        """The file's name of a tensor, None where there is none."""
        return next((full for full in (name, f"model.{name}") if full in self.files), None)

    def take(self, canonical: str, name: str, shape: tuple[int, ...]) -> None:
        """Raises CheckpointError naming file and tensor where it is missing or of another shape."""
        full = self.find(name)
        if full is None:
            raise CheckpointError(f"{self.folder}: has no tensor {name!r}, expected one of shape {list(shape)}")
        file = self.files[full]
        found = file.infos[full].shape
        if found != shape:
            raise CheckpointError(
                f"{file.path}: tensor {full!r} has shape {list(found)}, expected {list(shape)} by config.json"
            )
        self.views[canonical] = file.view(full)

    def take_layer(self, index: int, name: str, model: ModelConfig, *, qk_norm: bool, num_inputs: int) -> None:
        """The attention and MLP of decoder layer `index`, whose names start with `name`."""
        hidden, ours = model.hidden_size, f"layers.{index}."
        query, key = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
        for short, rows, columns, bias in (
            ("q", query, num_inputs, model.attention_bias),
            ("k", key, num_inputs, model.attention_bias),
            ("v", key, num_inputs, model.attention_bias),
            ("o", hidden, query, model.output_bias),
        ):
            module = f"{name}self_attn.{short}_proj"
            full = self.find(f"{module}.weight")
            if short == "q" and full is not None and self.files[full].infos[full].shape == (2 * rows, columns):
                raise NotImplementedError(
                    f"{self.files[full].path}: tensor {full!r} holds a query and a gate: gated attention is not supported"
                )
            self.take(ours + short, f"{module}.weight", (rows, columns))
            if bias:
                self.take(f"{ours}{short}_bias", f"{module}.bias", (rows,))
        if qk_norm:
            self.take(ours + "q_norm", f"{name}self_attn.q_norm.weight", (model.head_dim,))
            self.take(ours + "k_norm", f"{name}self_attn.k_norm.weight", (model.head_dim,))
        if self.find(f"{name}mlp.experts.0.gate_proj.weight") or self.find(f"{name}mlp.experts.gate_up_proj"):
            raise NotImplementedError(f"{self.folder}: a draft head with experts is not supported, only plain MLPs")
        inner = model.intermediate_size
        for short, rows, columns in (("gate", inner, hidden), ("up", inner, hidden), ("down", hidden, inner)):
            self.take(ours + short, f"{name}mlp.{short}_proj.weight", (rows, columns))
            if model.mlp_bias:
                self.take(f"{ours}{short}_bias", f"{name}mlp.{short}_proj.bias", (rows,))
        self.take(ours + "mlp_norm", f"{name}post_attention_layernorm.weight", (hidden,))

    def take_ends(self, model: ModelConfig, target: ModelConfig) -> None:
        """Embedding and output head, where the folder has them; else they are the target's."""
        if self.find(_EMBED):
            self.take("embed", _EMBED, (target.vocab_size, model.hidden_size))
        elif model.hidden_size != target.hidden_size:
            raise ValueError(
                f"{self.folder}: has hidden_size {model.hidden_size} and no {_EMBED} of its own, and the target's"
                f" embedding has hidden_size {target.hidden_size}"
            )
        if self.find(_OUTPUT):
            self.take("lm_head", _OUTPUT, (model.vocab_size, model.hidden_size))
        elif model.vocab_size != target.vocab_size:
            raise CheckpointError(
                f"{self.folder}: has no tensor {_OUTPUT!r}, expected one of shape"
                f" {[model.vocab_size, model.hidden_size]}: the target's has {target.vocab_size} tokens"
            )


def head_model(
    raw: Mapping[str, Any], source: str, tensors: HeadTensors, layer: str, target: ModelConfig, vocab_size: int
) -> ModelConfig:
    """The description of a head's own layers, with `vocab_size` tokens of output; `layer`: what the names of its first
    layer start with. What the tensors say about biases goes before the fields.

    Raises ValueError where the vocabulary that the head states is not the target's.
    """
    model = parse_config(raw, source=source)
    if model.vocab_size > target.vocab_size:
        raise ValueError(
            f"{source}: vocab_size is {model.vocab_size}, but the target model has {target.vocab_size} tokens"
        )
    if vocab_size > target.vocab_size:
        raise ValueError(
            f"{source}: draft_vocab_size is {vocab_size}, but the target model has only {target.vocab_size} tokens"
        )
    if model.norm_plus_one or model.post_norms or model.experts is not None:
        raise NotImplementedError(f"{source}: draft heads with layers of {model.family} are not supported")
    return dataclasses.replace(
        model,
        vocab_size=vocab_size,
        attention_bias=tensors.find(f"{layer}self_attn.q_proj.bias") is not None,
        output_bias=tensors.find(f"{layer}self_attn.o_proj.bias") is not None,
        mlp_bias=tensors.find(f"{layer}mlp.gate_proj.bias") is not None,
        tie_word_embeddings=False,
    )


def checked_layers(
    ids: Sequence[Any], target: ModelConfig, source: str, field: str, *, offset: int, last_is_normed: bool
) -> tuple[int, ...]:
    """Layer ids of a config file as the engine numbers them, id + offset.

    last_is_normed: what the head calls the last layer is the state after the final norm. Raises ValueError naming
    both sides for layers that the target does not have.
    """
    if not ids or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise CheckpointError(f"{source}: field {field!r} is {shown(ids)}, expected a list of layer ids")
    for i in ids:
        if not 0 <= i + offset <= target.num_layers:
            raise ValueError(
                f"{source}: {field} names layer {i}, but the target model has {target.num_layers} layers: expected"
                f" {-offset} to {target.num_layers - offset}"
            )
        if i + offset == target.num_layers and not last_is_normed:
            raise NotImplementedError(
                f"{source}: {field} names layer {i}, the target's last: its state before the final norm is not at hand"
            )
    return tuple(i + offset for i in ids)


def to_target(tensors: HeadTensors, vocab_size: int, target: ModelConfig, source: str) -> npt.NDArray[np.int32] | None:
    """The target's token of each token of the head, from the offsets in "d2t"; None: the same tokens."""
    name = tensors.find("d2t")
    if name is None:
        if vocab_size != target.vocab_size:
            raise CheckpointError(
                f"{tensors.folder}: has no tensor 'd2t', expected one of shape [{vocab_size}]: draft_vocab_size is"
                f" {vocab_size} and the target model has {target.vocab_size} tokens"
            )
        return None
    offsets = tensors.files[name].integers(name)
    if offsets.shape != (vocab_size,):
        raise CheckpointError(
            f"{tensors.files[name].path}: tensor 'd2t' has shape {list(offsets.shape)}, expected [{vocab_size}] by"
            " config.json"
        )
    ids = np.arange(vocab_size) + offsets
    if ids.min() < 0 or ids.max() >= target.vocab_size:
        raise ValueError(
            f"{tensors.files[name].path}: tensor 'd2t' leads to token {int(ids.min() if ids.min() < 0 else ids.max())},"
            f" but the target model has {target.vocab_size} tokens"
        )
    return ids.astype(np.int32)
