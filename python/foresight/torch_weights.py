"""The weights of a live transformers model, under the core's names: no file, no conversion."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foresight.checkpoint import Checkpoint, ModelConfig, Surroundings, Tokenizer, parse_config, with_dtype
from foresight.checkpoint.weights import Place, expected_tensors, spelled

__all__ = ["CoreTensors", "checkpoint_of", "tensors_of"]

CoreTensors = Mapping[str, tuple[npt.NDArray[np.uint8], str, tuple[int, ...]]]

_SOURCE = "the model's config"
_DTYPES = ("float32", "bfloat16", "float16")


def checkpoint_of(model: Any, tokenizer: Any, dtype: str | None, overrides: Mapping[str, Any] | None) -> Checkpoint:
    """A checkpoint without files: config and generation config of a transformers model, no tensors."""
    if not hasattr(model, "state_dict") or not hasattr(model, "config"):
        raise TypeError(f"from_torch takes a transformers model, got {type(model).__name__}")
    generation = getattr(model, "generation_config", None)
    defaults = {} if generation is None else dict(generation.to_diff_dict())
    name = str(getattr(model.config, "_name_or_path", "") or "")
    own_tokenizer = _tokenizer(tokenizer)
    around = Surroundings((name,), lambda: None if own_tokenizer is None else own_tokenizer.mask_token_id)
    config = parse_config(model.config.to_dict(), defaults, overrides, _SOURCE, around)
    config = with_dtype(config, str(model.dtype).removeprefix("torch.") if dtype is None else dtype)
    return Checkpoint(
        path=Path(name or "."),
        config=config,
        tensors={},
        tokenizer=own_tokenizer,
        chat_template=None,
        generation_config=defaults,
    )


def tensors_of(model: Any, config: ModelConfig) -> CoreTensors:
    """The tensors that the core needs, as they are now: views of CPU memory where the model lies there.

    Raises ValueError naming a tensor that is missing, or has another shape than the config says.
    """
    state = model.state_dict()
    return dict(_select(state, config))


def _select(
    state: Mapping[str, Any], config: ModelConfig
) -> Iterator[tuple[str, tuple[npt.NDArray[np.uint8], str, tuple[int, ...]]]]:
    ending = spelled(config, "embed_tokens.weight")
    prefixes = [name.removesuffix(ending) for name in state if name.endswith(ending)]
    if len(prefixes) != 1:
        raise ValueError(f"the model has {len(prefixes)} tensors named *{ending}, expected one")
    for place in expected_tensors(config):
        yield place.canonical, _flat(state, prefixes[0] + place.name, place)
    if not config.tie_word_embeddings:
        ending = spelled(config, "lm_head.weight")
        heads = [name for name in state if name.endswith(ending) and "layers" not in name and "blocks" not in name]
        head = Place("lm_head", heads[0] if heads else ending, (config.vocab_size, config.hidden_size))
        yield "lm_head", _flat(state, head.name, head)


def _flat(state: Mapping[str, Any], name: str, place: Place) -> tuple[npt.NDArray[np.uint8], str, tuple[int, ...]]:
    tensor = state.get(name)
    if tensor is None:
        raise ValueError(f"the model has no tensor {name!r}, expected one of shape {list(place.file_shape)}")
    if tuple(tensor.shape) != place.file_shape:
        raise ValueError(f"tensor {name!r} has shape {list(tensor.shape)}, expected {list(place.file_shape)}")
    tensor = tensor[place.first_row : place.first_row + place.shape[0]]
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise NotImplementedError(f"tensor {name!r} is of dtype {dtype}; supported are {', '.join(_DTYPES)}")
    torch = sys.modules["torch"]
    flat = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return flat.numpy(), dtype, place.shape


def _tokenizer(tokenizer: Any) -> Tokenizer | None:
    """Ours around the same rules as a fast tokenizer of transformers."""
    if tokenizer is None or isinstance(tokenizer, Tokenizer):
        return tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TypeError(f"from_torch needs a fast tokenizer, got {type(tokenizer).__name__}")
    special = {role: value for role, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    return Tokenizer(_unpadded(backend), special, type(tokenizer).__name__)


def _unpadded(backend: Any) -> Any:
    """A copy without the padding and truncation that a call of the tokenizer may have left on."""
    copy = type(backend).from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy
