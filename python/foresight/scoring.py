"""Log-probabilities of given continuations: the arguments of lm.score, and the chain rule of causal models."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foresight.call import LoadedModel
from foresight.inputs import parse_token_lists
from foresight.likelihoods import Window, estimate, estimators_of
from foresight.output import Score
from foresight.seeds import parse_seed
from foresight.text import need_tokenizer

__all__ = ["score"]


def score(
    model: LoadedModel, contexts: Any, continuations: Any, estimator: str | None, samples: int, seed: Any
) -> list[Score]:
    """What lm.score returns."""
    estimator = _resolve(model, estimator)
    if isinstance(samples, bool) or not hasattr(samples, "__index__"):
        raise TypeError(f"samples is {samples!r}, expected an integer")
    if samples < 1:
        raise ValueError(f"samples is {samples}, expected at least 1")
    if estimator == "chain":
        return _chain(model, contexts, continuations)
    if contexts is None:
        texts = [_documents(model, tokens) for tokens in _rolling_tokens(model, continuations)]
    else:
        texts = [[pair] for pair in _encode_pairs(model, contexts, continuations)]
    _refuse_masks(model, texts)
    _, seeds = parse_seed(seed, len(texts))
    return estimate(model, texts, estimator, operator.index(samples), seeds)


def _resolve(model: LoadedModel, estimator: str | None) -> str:
    fitting = estimators_of(model.config)
    if estimator is not None and estimator not in fitting:
        kind = "causal" if fitting == ("chain",) else f"{model.config.attention.replace('_', '-')} diffusion"
        names = " or ".join(map(repr, fitting))
        raise ValueError(f"estimator is {estimator!r}, but {kind} models take {names}, or None for {fitting[0]!r}")
    if fitting != ("chain",) and model.config.mask_token_id is None:
        raise ValueError("the model has no mask token to score with: state it, config={'mask_token_id': ...}")
    return fitting[0] if estimator is None else estimator


def _refuse_masks(model: LoadedModel, texts: list[list[Window]]) -> None:
    mask = model.config.mask_token_id
    for i, windows in enumerate(texts):
        for window in windows:
            for what, tokens in zip(("contexts", "continuations"), window, strict=True):
                if mask in tokens:
                    raise ValueError(f"{what}[{i}] holds the mask token, {mask}: only written text has a likelihood")


def _chain(model: LoadedModel, contexts: Any, continuations: Any) -> list[Score]:
    if contexts is None:
        return _rolling_scores(model, _rolling_tokens(model, continuations))
    pairs = _encode_pairs(model, contexts, continuations)
    scored = [i for i, (_, continuation) in enumerate(pairs) if continuation]
    results = model.engine.score(
        [[*pairs[i][0], *pairs[i][1]] for i in scored],
        [len(pairs[i][0]) for i in scored],
    )
    scores = [_score(np.empty(0, dtype=np.float32), np.empty(0, dtype=np.bool_)) for _ in pairs]
    for i, (logprobs, greedy) in zip(scored, results, strict=True):
        scores[i] = _score(logprobs, greedy)
    return scores


def _score(logprobs: npt.NDArray[np.float32], greedy: npt.NDArray[np.bool_]) -> Score:
    return Score(
        logprob=float(logprobs.sum(dtype=np.float64)),
        is_greedy=bool(greedy.all()),
        num_tokens=len(logprobs),
        token_logprobs=logprobs,
    )


def _is_text(values: Any, what: str) -> bool:
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise TypeError(f"{what} must be a list of texts or of token ids, got {type(values).__name__}")
    texts = [isinstance(value, str) for value in values]
    if any(texts) and not all(texts):
        raise TypeError(f"{what} mix texts and token ids")
    return any(texts)


def _prefix(model: LoadedModel) -> list[int]:
    """What stands before a text without context: bos, else eos, as in lm-eval."""
    bos = model.config.bos_token_id
    ids = [bos] if bos is not None else list(model.config.eos_token_ids[:1])
    if not ids:
        raise ValueError("the first token has no context, and the model has neither bos nor eos to stand for one")
    return ids


def _needs_context(model: LoadedModel) -> bool:
    """Whether the first token of a sequence is said by the row before it."""
    return model.config.shifted


def _encode_pairs(model: LoadedModel, contexts: Any, continuations: Any) -> list[Window]:
    if len(contexts) != len(continuations):
        raise ValueError(f"{len(contexts)} contexts for {len(continuations)} continuations")
    if not len(contexts):
        return []
    text = _is_text(contexts, "contexts")
    if text != _is_text(continuations, "continuations"):
        raise TypeError("contexts and continuations must both be texts or both be token ids")
    if text:
        pairs = [_split(model, c, t) for c, t in zip(contexts, continuations, strict=True)]
    else:
        size = model.config.vocab_size
        given = parse_token_lists(contexts, vocab_size=size, what="contexts", allow_empty=True)
        rest = parse_token_lists(continuations, vocab_size=size, what="continuations", allow_empty=True)
        pairs = list(zip(given, rest, strict=True))
    if not _needs_context(model):
        return pairs
    return [(context or _prefix(model), tokens) for context, tokens in pairs]


def _split(model: LoadedModel, context: str, continuation: str) -> Window:
    """Tokens of context + continuation, cut where the context's own tokens end; spaces at the end of the
    context count as the continuation's, as in lm-eval.
    """
    tokenizer = need_tokenizer(model, "score with text")
    stripped = context.rstrip()
    before = tokenizer.encode(stripped)
    whole = tokenizer.encode(context + continuation)
    return whole[: len(before)], whole[len(before) :]


def _rolling_tokens(model: LoadedModel, texts: Any) -> list[list[int]]:
    if _is_text(texts, "continuations"):
        tokenizer = need_tokenizer(model, "score with text")
        return [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return parse_token_lists(texts, vocab_size=model.config.vocab_size, what="continuations", allow_empty=True)


def _rolling_scores(model: LoadedModel, texts: list[list[int]]) -> list[Score]:
    """Every token is scored once, in windows of the model's length: each window begins where the one
    before ended, the last one reaches back as far as it can (lm-eval's loglikelihood_rolling).
    """
    length = model.config.max_position_embeddings
    sequences: list[list[int]] = []
    starts: list[int] = []
    owners: list[int] = []
    for owner, tokens in enumerate(texts):
        for window, start in _windows([*_prefix(model), *tokens], length) if tokens else ():
            sequences.append(window)
            starts.append(start)
            owners.append(owner)
    parts: list[list[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]] = [[] for _ in texts]
    for owner, result in zip(owners, model.engine.score(sequences, starts), strict=True):
        parts[owner].append(result)
    return [_joined(part) for part in parts]


def _joined(parts: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]) -> Score:
    logprobs = [part for part, _ in parts] or [np.empty(0, dtype=np.float32)]
    greedy = [part for _, part in parts] or [np.empty(0, dtype=np.bool_)]
    return _score(np.concatenate(logprobs), np.concatenate(greedy))


def _windows(tokens: list[int], length: int) -> list[tuple[list[int], int]]:
    """(window, first scored token) over tokens[1:]; a window has `length` inputs and one token after."""
    windows = []
    done = 1
    while done < len(tokens):
        end = min(done + length, len(tokens))
        first = max(0, end - length - 1)
        windows.append((tokens[first:end], done - first))
        done = end
    return windows


def _documents(model: LoadedModel, tokens: list[int]) -> list[Window]:
    """Windows of the model's length, each a document without a context."""
    prefix = _prefix(model) if _needs_context(model) and tokens else []
    length = model.config.max_position_embeddings - len(prefix)
    return [(prefix, tokens[i : i + length]) for i in range(0, len(tokens), length)]
