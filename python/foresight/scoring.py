"""Log-probabilities of given continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foresight.call import LoadedModel
from foresight.inputs import parse_token_lists
from foresight.output import Score
from foresight.text import need_tokenizer

__all__ = ["score"]

ESTIMATORS = ("monte_carlo", "blockwise", "exact")


def score(model: LoadedModel, contexts: Any, continuations: Any, estimator: str | None) -> list[Score]:
    """What lm.score returns."""
    if estimator not in (None, "chain"):
        if estimator in ESTIMATORS:
            raise ValueError(f"estimator {estimator!r} is for diffusion models; causal models take 'chain' or None")
        raise ValueError(f"estimator is {estimator!r}, expected None or 'chain'")
    if contexts is None:
        texts = _rolling_tokens(model, continuations)
        return _rolling_scores(model, texts)
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


def _encode_pairs(model: LoadedModel, contexts: Any, continuations: Any) -> list[tuple[list[int], list[int]]]:
    if len(contexts) != len(continuations):
        raise ValueError(f"{len(contexts)} contexts for {len(continuations)} continuations")
    if not len(contexts):
        return []
    text = _is_text(contexts, "contexts")
    if text != _is_text(continuations, "continuations"):
        raise TypeError("contexts and continuations must both be texts or both be token ids")
    if text:
        return [_split(model, c, t) for c, t in zip(contexts, continuations, strict=True)]
    size = model.config.vocab_size
    given = parse_token_lists(contexts, vocab_size=size, what="contexts", allow_empty=True)
    rest = parse_token_lists(continuations, vocab_size=size, what="continuations", allow_empty=True)
    return [(context or _prefix(model), tokens) for context, tokens in zip(given, rest, strict=True)]


def _split(model: LoadedModel, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of context + continuation, cut where the context's own tokens end; spaces at the end of the
    context count as the continuation's, as in lm-eval.
    """
    tokenizer = need_tokenizer(model, "score with text")
    stripped = context.rstrip()
    before = tokenizer.encode(stripped)
    whole = tokenizer.encode(context + continuation)
    if not before:
        return _prefix(model), whole
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
