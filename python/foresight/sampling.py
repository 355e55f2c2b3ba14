"""From resolved settings to the core's SamplingParams; None stands for what is off."""

from __future__ import annotations

from typing import Any

from foresight.generation import Settings, token_ids

__all__ = ["sampling_params"]

_PROCESSORS = (
    *("encoder_repetition_penalty", "repetition_penalty", "no_repeat_ngram_size"),
    *("encoder_no_repeat_ngram_size", "min_new_tokens", "forced_bos_token_id"),
    *("remove_invalid_values", "exponential_decay_length_penalty", "renormalize_logits", "do_sample"),
)
_WARPERS = (
    *("temperature", "top_h", "top_k", "top_p", "min_p"),
    *("typical_p", "epsilon_cutoff", "eta_cutoff"),
)
_TOKENS = ("forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens")


def sampling_params(settings: Settings, eos_token_ids: list[int]) -> dict[str, Any]:
    """The fields that all prompts of a call share; max_length and min_length are each prompt's own."""
    params: dict[str, Any] = {name: settings[name] for name in _PROCESSORS}
    if settings["do_sample"]:
        params.update({name: settings[name] for name in _WARPERS})
    params.update({name: token_ids(settings[name]) or None for name in _TOKENS})
    if settings["bad_words_ids"] is not None:
        params["bad_words_ids"] = [[int(i) for i in word] for word in settings["bad_words_ids"]]
    bias = settings["sequence_bias"]
    if bias is not None:
        pairs = bias.items() if isinstance(bias, dict) else bias
        params["sequence_bias"] = [([int(i) for i in ids], float(value)) for ids, value in pairs]
    params["eos_token_ids"] = eos_token_ids
    return params
