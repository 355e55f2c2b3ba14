"""Every field of transformers.GenerationConfig (4.x and 5.x), and what `generate` does about it.

One table for the precedence rules, the validation, the documentation (docs/compatibility.md) and the
tests. A field acts, or it has no effect that a result could show, or it raises: nothing is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ARGUMENTS", "FIELDS", "Field", "markdown_table"]

Effect = Literal["acts", "no effect", "raises"]


@dataclass(frozen=True)
class Field:
    """One field.

    how: for "acts" and "no effect" what it does, for "raises" why it is refused.
    default: the library's default, which acts where nobody sets the field.
    neutral: further values that mean "off"; a field that raises accepts them and `None`.
    inert_in_files: in a checkpoint's generation_config.json it only means something together with
    another field that raises by itself (or with transformers' own machinery), so there it is dropped.
    check: returns None for a good value, and what was expected for any other.
    canvas: for a field that acts: why it raises with strategies that fill masks in place; None: it acts.
    """

    name: str
    effect: Effect
    how: str
    default: Any = None
    neutral: tuple[Any, ...] = ()
    inert_in_files: bool = False
    check: Callable[[Any], str | None] | None = None
    canvas: str | None = None

    def is_neutral(self, value: Any) -> bool:
        """Whether `value` leaves the field off."""
        return value is None or any(_same(value, other) for other in (self.default, *self.neutral))


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return value == other
    return isinstance(value, str) and value == other


def _is_int(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    number = isinstance(value, (int, float)) or hasattr(value, "__float__")
    return number and not isinstance(value, (bool, str)) and not math.isnan(float(value))


def _integer(minimum: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        good = _is_int(value) and minimum <= int(value) < 2**31
        return None if good else f"an integer of at least {minimum}"

    return check


def _real(value: Any) -> str | None:
    return None if _is_real(value) else "a number"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _token_ids(value: Any) -> str | None:
    good = _is_int(value) or (_is_sequence(value) and all(_is_int(item) for item in value))
    return None if good else "a token id or a list of them"


def _id_list(value: Any) -> str | None:
    good = _is_sequence(value) and all(_is_int(item) for item in value)
    return None if good else "a list of token ids"


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__iter__") and not isinstance(value, str)


def _words(value: Any) -> str | None:
    good = _is_sequence(value) and len(value) and all(not _id_list(w) and len(w) for w in value)
    return None if good else "a non-empty list of non-empty lists of token ids"


def _bias(value: Any) -> str | None:
    expected = "a dict {(token ids): bias} or a list of [[token ids], bias]"
    if not _is_sequence(value) or not len(value):
        return expected
    pairs: list[Any] = list(value.items()) if isinstance(value, dict) else list(value)
    for pair in pairs:
        if not _is_sequence(pair) or len(pair) != 2:
            return expected
        ids, bias = pair
        if _id_list(ids) or not len(ids) or not _is_real(bias):
            return expected
    return None


def _decay(value: Any) -> str | None:
    good = _is_sequence(value) and len(value) == 2 and _is_int(value[0]) and _is_real(value[1])
    return None if good else "a pair (start, factor)"


def _schedule(value: Any) -> str | None:
    known = ("constant", "heuristic", "heuristic_transient")
    return None if value in known else f"one of {', '.join(known)}"


def _strings(value: Any) -> str | None:
    many = _is_sequence(value) and all(isinstance(item, str) and item for item in value)
    good = (isinstance(value, str) and value) or (many and len(value))
    return None if good else "a non-empty string or a list of them"


def _budget(value: Any) -> str | None:
    many = _is_sequence(value) and all(_is_int(item) and item >= 0 for item in value)
    good = (_is_int(value) and value >= 0) or many
    return None if good else "an integer of at least 1 (0 where the prompt holds masks), or a list with one per prompt"


def _logprobs(value: Any) -> str | None:
    good = isinstance(value, bool) or (_is_int(value) and 0 <= value < 2**20)
    return None if good else "True, False, or how many of the best tokens to list (0 or more)"


_HISTORY = "it looks back at the tokens before, and masks are decided in any order"
_CAUSAL_OUTPUT = "rows of scores belong to steps from left to right; use output_logprobs"

_BEAMS = "beam search is not built"
_MTP = "say decoding=fs.Speculative(fs.DraftHead()): the MTP layers of the checkpoint"
_CONFIDENCE = "guesses end where fs.Speculative finds that they do not pay, not at a confidence"
_ALIGNMENT = "another tokenizer's tokens are paired by their text, so nothing is aligned"
_PREFIX = "guesses stand behind a prefix, and masks are decided in any order"
_CACHE = "the engine has one paged cache of its own, and tokens do not depend on it"
_REMOVED = "transformers itself has moved this method out of the library"


def _acts(name: str, how: str, default: Any = None, check: Any = None, canvas: str | None = None) -> Field:
    return Field(name, "acts", how, default=default, check=check, canvas=canvas)


def _no_effect(name: str, how: str) -> Field:
    return Field(name, "no effect", how)


def _raises(name: str, why: str, *neutral: Any, inert: bool = False) -> Field:
    return Field(name, "raises", why, neutral=neutral, inert_in_files=inert)


_TABLE: Sequence[Field] = (
    # Length
    _acts("max_new_tokens", "new tokens at most; also a list, one per prompt", check=_budget),
    _acts("max_length", "prompt and new tokens together (an array's padding included)", check=_integer(1)),
    _acts("min_new_tokens", "forbids eos before that many new tokens", check=_integer(0)),
    _acts("min_length", "forbids eos below that length, prompt included", 0, _integer(0)),
    _acts("max_time", "seconds; the forward under way is finished", check=_real),
    _acts("stop_strings", "stops at the token that completes one; needs a tokenizer", check=_strings),
    # Strategy
    _acts("do_sample", "draws tokens; otherwise the highest score wins, the lowest id among equals", False, _flag),
    _acts("num_return_sequences", "continuations per prompt; above 1 needs do_sample", 1, _integer(1)),
    _raises("num_beams", _BEAMS, 1),
    _raises("num_beam_groups", _BEAMS, 1, inert=True),
    _raises("early_stopping", _BEAMS, False, inert=True),
    _raises("length_penalty", _BEAMS, 1.0, inert=True),
    _raises("diversity_penalty", _BEAMS, 0.0, inert=True),
    _raises("constraints", _REMOVED),
    _raises("force_words_ids", _REMOVED),
    _raises("penalty_alpha", _REMOVED, 0.0),
    _raises("dola_layers", _REMOVED),
    _raises("low_memory", "it belongs to contrastive and beam search, which are not built", False, inert=True),
    _raises("use_mtp", _MTP, False),
    # Scores, in the order in which they act
    _acts("guidance_scale", "classifier-free guidance; 1 is off", check=_real),
    _acts("sequence_bias", "adds a bias to what would complete a sequence", check=_bias, canvas=_HISTORY),
    _acts("encoder_repetition_penalty", "rewards the prompt's tokens", 1.0, _real, canvas=_HISTORY),
    _acts("repetition_penalty", "penalises tokens of prompt and continuation", 1.0, _real, canvas=_HISTORY),
    _acts("no_repeat_ngram_size", "no n-gram of this size twice, prompt included", 0, _integer(0), canvas=_HISTORY),
    _acts(
        "encoder_no_repeat_ngram_size", "no n-gram of the prompt in the continuation", 0, _integer(0), canvas=_HISTORY
    ),
    _acts("bad_words_ids", "forbids what would complete one of these", check=_words, canvas=_HISTORY),
    _acts(
        "forced_bos_token_id", "the first token, where the prompt is a single token", check=_integer(0), canvas=_HISTORY
    ),
    _acts("forced_eos_token_id", "the token at the last position allowed", check=_token_ids, canvas=_HISTORY),
    _acts("remove_invalid_values", "replaces NaN and infinity in scores", False, _flag),
    _acts(
        "exponential_decay_length_penalty",
        "raises eos's score more and more after a start",
        check=_decay,
        canvas=_HISTORY,
    ),
    _acts("suppress_tokens", "never produced", check=_id_list),
    _acts("begin_suppress_tokens", "not produced as the first token", check=_id_list, canvas=_HISTORY),
    _acts("temperature", "divides scores; only with do_sample", 1.0, _real),
    _acts("top_h", "entropy-bounded truncation; only with do_sample", check=_real),
    _acts("top_k", "keeps the k best; 0 is off; only with do_sample", 50, _integer(0)),
    _acts("top_p", "keeps the smallest set of this mass; only with do_sample", 1.0, _real),
    _acts("min_p", "drops what is below this share of the best; only with do_sample", check=_real),
    _acts("typical_p", "locally typical sampling; only with do_sample", 1.0, _real),
    _acts("epsilon_cutoff", "drops probabilities below it; only with do_sample", 0.0, _real),
    _acts("eta_cutoff", "entropy-dependent cutoff; only with do_sample", 0.0, _real),
    _acts("renormalize_logits", "log-softmax after everything else", False, _flag),
    _raises("token_healing", "it rewrites the prompt, and is not built", False),
    _raises("watermarking_config", "watermarks are not built"),
    # What comes back
    _acts("return_dict_in_generate", "returns fs.GenerateOutput", False, _flag),
    _acts("output_scores", "processed scores per new token, in GenerateOutput", False, _flag, canvas=_CAUSAL_OUTPUT),
    _acts("output_logits", "raw logits per new token, in GenerateOutput", False, _flag, canvas=_CAUSAL_OUTPUT),
    _acts("output_logprobs", "Foresight's own: log-probabilities per new token, and the k best", False, _logprobs),
    _raises("output_attentions", "the engine never forms attention weights", False, inert=True),
    _raises("output_hidden_states", "use lm.hidden_states", False, inert=True),
    # Special tokens
    _acts("eos_token_id", "ends a sequence; one id or a list", check=_token_ids),
    _acts("pad_token_id", "pads arrays on the right; the first eos where unset", check=_integer(-1)),
    _no_effect("bos_token_id", "prompts are never empty, so it is never inserted"),
    _raises("decoder_start_token_id", "it belongs to encoder-decoder models", inert=True),
    _raises("forced_decoder_ids", "it belongs to encoder-decoder models"),
    # Cache and compilation
    _raises("use_cache", "the engine always caches, and tokens do not depend on it", True, inert=True),
    _raises("cache_implementation", _CACHE, inert=True),
    _raises("cache_config", _CACHE, inert=True),
    _raises("max_cache_len", _CACHE, inert=True),
    _raises("return_legacy_cache", _CACHE, False, inert=True),
    _raises("prefill_chunk_size", "the scheduler cuts prompts into chunks itself", inert=True),
    _raises("compile_config", "nothing is compiled", inert=True),
    _no_effect("disable_compile", "nothing is compiled"),
    _raises("continuous_batching_config", "every batch is continuous here, and needs no settings", inert=True),
    # Speculation
    _raises("is_assistant", "whoever guesses is told by decoding=fs.Speculative(...)", False, inert=True),
    _acts(
        "num_assistant_tokens",
        "guesses in a row at most, of assistant_model or assistant_early_exit",
        check=_integer(1),
        canvas=_PREFIX,
    ),
    _acts(
        "num_assistant_tokens_schedule",
        "'constant': always so many; else, and where unset, as many as pay",
        check=_schedule,
        canvas=_PREFIX,
    ),
    _raises("assistant_confidence_threshold", _CONFIDENCE, 0.4, inert=True),
    _raises("assistant_lookbehind", _ALIGNMENT, 10, inert=True),
    _raises("target_lookbehind", _ALIGNMENT, 10, inert=True),
    _raises("assistant_ensemble_weight", "verification is the target's alone", inert=True),
    _acts("assistant_early_exit", "decoding=fs.Speculative(fs.EarlyExit(it))", check=_integer(1), canvas=_PREFIX),
    _acts(
        "prompt_lookup_num_tokens",
        "decoding=fs.Speculative(fs.PromptLookup(...), it)",
        check=_integer(1),
        canvas=_PREFIX,
    ),
    _acts("max_matching_ngram_size", "fs.PromptLookup's max_ngram; 2 where unset", check=_integer(1), canvas=_PREFIX),
    _raises("speculation_type", "choose a drafter with decoding=fs.Speculative(...)", inert=True),
    # Bookkeeping
    _raises("generation_kwargs", "pass each field by its name", inert=True),
    _no_effect("transformers_version", "who wrote the file"),
    _no_effect("_from_model_config", "where the values came from"),
    _no_effect("_commit_hash", "where the values came from"),
    _no_effect("_original_object_hash", "whether transformers saw a change"),
)

FIELDS: dict[str, Field] = {field.name: field for field in _TABLE}

ARGUMENTS: dict[str, str] = {
    "custom_generate": "choose a strategy with decoding=",
    "synced_gpus": "the engine runs on one machine",
    "inputs_embeds": "prompts are token ids",
    "past_key_values": "use lm.session to keep a cache between calls",
    "position_ids": "positions follow from the prompt and its attention_mask",
    "use_model_defaults": "the checkpoint's own defaults always hold; override the fields you mean",
    "trust_remote_code": "no code is taken from a checkpoint",
    "streaming_config": "use lm.stream",
}
"""Arguments of transformers' generate() that are refused when set, with the reason."""


def markdown_table() -> str:
    """The table of docs/compatibility.md: one line per field."""
    lines = [
        "| field | left to right | filling masks | default | how, or why not |",
        "|---|---|---|---|---|",
    ]
    for field in _TABLE:
        effect: str = field.effect
        if field.effect == "raises":
            values = ", ".join(f"`{value!r}`" for value in field.neutral)
            effect = "raises" + (f" (accepts {values})" if values else "")
        canvas = effect if field.canvas is None else "raises"
        default = "" if field.default is None else f"`{field.default!r}`"
        how = field.how if field.canvas is None else f"{field.how}; filling masks: {field.canvas}"
        lines.append(f"| `{field.name}` | {effect} | {canvas} | {default} | {how} |")
    return "\n".join(lines) + "\n"
