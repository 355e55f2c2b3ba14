"""A user's own logits processors and prefix_allowed_tokens_fn, as the core calls them.

They get token ids int64 [1, length] (the prompt without padding, then what follows) and scores float32
[1, vocab], once per position, and return the new scores. They get torch tensors if they say
`wants_torch = True`, if their class comes from transformers or torch, or if the prompts were torch
tensors; numpy arrays otherwise, and always where they say `wants_torch = False`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from foresight.generation import Settings
from foresight.inputs import as_numpy

__all__ = ["CoreProcessor", "as_list", "to_user", "wants_torch", "wrap_prefix_function", "wrap_processors"]

CoreProcessor = Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32]], npt.NDArray[np.float32]]

# transformers' own classes, and the field that already does their work when it is set.
_FIELD_OF = {
    "SequenceBiasLogitsProcessor": "sequence_bias",
    "EncoderRepetitionPenaltyLogitsProcessor": "encoder_repetition_penalty",
    "RepetitionPenaltyLogitsProcessor": "repetition_penalty",
    "NoRepeatNGramLogitsProcessor": "no_repeat_ngram_size",
    "EncoderNoRepeatNGramLogitsProcessor": "encoder_no_repeat_ngram_size",
    "NoBadWordsLogitsProcessor": "bad_words_ids",
    "MinLengthLogitsProcessor": "min_length",
    "MinNewTokensLengthLogitsProcessor": "min_new_tokens",
    "ForcedBOSTokenLogitsProcessor": "forced_bos_token_id",
    "ForcedEOSTokenLogitsProcessor": "forced_eos_token_id",
    "ExponentialDecayLengthPenalty": "exponential_decay_length_penalty",
    "SuppressTokensLogitsProcessor": "suppress_tokens",
    "SuppressTokensAtBeginLogitsProcessor": "begin_suppress_tokens",
}


def wants_torch(user_object: Any, torch_inputs: bool) -> bool:
    """Whether a user's object is called with torch tensors."""
    stated = getattr(user_object, "wants_torch", None)
    if stated is not None:
        return bool(stated)
    origins = {cls.__module__.partition(".")[0] for cls in type(user_object).__mro__}
    return torch_inputs or not origins.isdisjoint(("transformers", "torch"))


def to_user(array: npt.NDArray[Any], torch: bool) -> Any:
    """An array as a user's object gets it, with its own memory."""
    if not torch:
        return array
    module = sys.modules.get("torch")
    if module is None:
        raise RuntimeError("an object with wants_torch = True was passed, but torch has not been imported")
    return module.from_numpy(array if array.flags.writeable else array.copy())


def as_list(value: Any, what: str) -> list[Callable[..., Any]]:
    """One callable, or a list of them (transformers' LogitsProcessorList is one), as a list."""
    if value is None:
        return []
    items = list(value) if isinstance(value, Iterable) else [value]
    for item in items:
        if not callable(item):
            raise TypeError(f"{what} holds {item!r}, which cannot be called")
    return items


def wrap_processors(value: Any, settings: Settings, torch_inputs: bool) -> list[CoreProcessor]:
    """The user's processors for the core. Raises ValueError for one whose work a set field does too."""
    processors = as_list(value, "logits_processor")
    for processor in processors:
        field = _FIELD_OF.get(type(processor).__name__)
        if field is not None and settings.from_caller(field) and settings[field] is not None:
            raise ValueError(f"{type(processor).__name__} is passed and {field} is set: choose one")
    return [_wrap(processor, wants_torch(processor, torch_inputs)) for processor in processors]


def _wrap(processor: Callable[..., Any], torch: bool) -> CoreProcessor:
    def call(ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        size = scores.size
        result = processor(to_user(ids, torch), to_user(scores, torch))
        new = as_numpy(result) if hasattr(result, "__dlpack__") else np.asarray(result)
        if new.size != size:
            name = getattr(processor, "__name__", type(processor).__name__)
            raise ValueError(f"logits processor {name} returned shape {list(new.shape)}, expected [1, {size}]")
        return np.ascontiguousarray(new, dtype=np.float32).reshape(1, size)

    return call


def wrap_prefix_function(function: Callable[[int, Any], Any], prompt: int, torch_inputs: bool) -> CoreProcessor:
    """prefix_allowed_tokens_fn(prompt index, ids [length]) -> allowed ids, as a processor.

    As in transformers an empty list raises ValueError, and where everything allowed is at -inf already
    the allowed tokens are forced.
    """
    torch = wants_torch(function, torch_inputs)

    def call(ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        allowed = function(prompt, to_user(ids[0], torch))
        chosen = np.asarray(allowed.tolist() if hasattr(allowed, "tolist") else list(allowed), dtype=np.int64)
        if not chosen.size:
            raise ValueError(f"prefix_allowed_tokens_fn allows no token after {ids.shape[1]} of prompt {prompt}")
        if chosen.min() < 0 or chosen.max() >= scores.shape[1]:
            raise ValueError(f"prefix_allowed_tokens_fn allows an id outside 0 to {scores.shape[1] - 1}")
        result = np.full_like(scores, -np.inf)
        kept = scores[0, chosen]
        result[0, chosen] = kept if (kept > -np.inf).any() else 0.0
        return result

    return call
