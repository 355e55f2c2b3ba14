"""transformers' fields for assisted generation as an equivalent fs.Speculative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.decoding import Speculative
from foresight.drafters import EarlyExit, PromptLookup
from foresight.generation_fields import FIELDS

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig
    from foresight.generation import Settings

__all__ = ["assisted_decoding"]

# transformers' default of max_matching_ngram_size.
_NGRAM = 2
# transformers' 20 are more than pay on any model here, and the rule that adapts them starts from there;
# ours chooses by what they cost, from none to this many.
_ASSISTANT_TOKENS = 20


_FIELDS = (
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_early_exit",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
)


def assisted_decoding(
    settings: Settings, config: ModelConfig, assistant_model: Any, assistant_tokenizer: Any, decoding: Any
) -> Any:
    """`decoding`, or what the fields ask for. Raises ValueError for both at once and for fields that go
    with one that is missing, NotImplementedError for models that do not write from left to right.
    """
    if config.attention != "causal":
        for name in _FIELDS:
            if settings.from_caller(name) and settings[name] is not None:
                raise NotImplementedError(f"{name}={settings[name]!r}: {FIELDS[name].canvas}")
        if assistant_model is None and assistant_tokenizer is None:
            return decoding
    others = decoding is not None or assistant_model is not None

    def wish(name: str) -> Any:
        # What only the checkpoint's file asks for gives way to the caller.
        return settings[name] if settings.from_caller(name) or not others else None

    lookup, layer = wish("prompt_lookup_num_tokens"), wish("assistant_early_exit")
    asked = {
        "assistant_model": assistant_model,
        "prompt_lookup_num_tokens": lookup,
        "assistant_early_exit": layer,
    }
    named = [name for name, value in asked.items() if value is not None]
    if not named:
        _refuse_companions(settings, assistant_tokenizer)
        return decoding
    if decoding is not None or len(named) > 1:
        both = [*named, *(["decoding"] if decoding is not None else [])]
        raise ValueError(f"{' and '.join(both)} are given: each says by itself how tokens are guessed, so give one")
    if lookup is not None:
        return Speculative(PromptLookup(settings["max_matching_ngram_size"] or _NGRAM), int(lookup))
    if settings.from_caller("max_matching_ngram_size") and settings["max_matching_ngram_size"] is not None:
        raise ValueError("max_matching_ngram_size goes with prompt_lookup_num_tokens")
    count = settings["num_assistant_tokens"] or _ASSISTANT_TOKENS
    drafter = EarlyExit(layer) if assistant_model is None else _checked(assistant_model)
    return Speculative(drafter, int(count), adaptive=settings["num_assistant_tokens_schedule"] != "constant")


def _refuse_companions(settings: Settings, assistant_tokenizer: Any) -> None:
    if assistant_tokenizer is not None:
        raise ValueError("assistant_tokenizer goes with assistant_model")
    companions = {
        "num_assistant_tokens": "assistant_model or assistant_early_exit",
        "num_assistant_tokens_schedule": "assistant_model or assistant_early_exit",
        "max_matching_ngram_size": "prompt_lookup_num_tokens",
    }
    for name, owner in companions.items():
        if settings.from_caller(name) and settings[name] is not None:
            raise ValueError(f"{name}={settings[name]!r} goes with {owner}, which is not given")


def _checked(assistant_model: Any) -> Any:
    from foresight.lm import LM

    if isinstance(assistant_model, LM):
        return assistant_model
    raise TypeError(
        f"assistant_model is a {type(assistant_model).__name__}, expected an fs.LM; of a transformers model make one"
        " with fs.LM.from_torch(model, tokenizer=tokenizer)"
    )
