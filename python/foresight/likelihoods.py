"""Estimates of how likely a diffusion model finds given continuations. docs/likelihoods.md says what each one is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from foresight.call import LoadedModel
from foresight.mask_draws import Draw, all_draws, random_draws, standard_error
from foresight.output import Score

if TYPE_CHECKING:
    from foresight.checkpoint import ModelConfig

__all__ = ["Window", "estimate", "estimators_of"]

# A context and what follows it.
Window = tuple[list[int], list[int]]

# Of "exact": sets of masks (2^12), and sets in every order (64).
_MOST_TOKENS = 12
_MOST_ORDERED_TOKENS = 4
# Canvases handed to the engine at once; it divides them into forwards.
_CANVASES = 1024


def estimators_of(config: ModelConfig) -> tuple[str, ...]:
    """The estimators that fit a model, its own one first."""
    if config.attention == "causal" and config.shifted:
        return ("chain",)
    if config.attention == "block_causal":
        return ("blockwise", "exact")
    return ("monte_carlo", "exact")


@dataclass
class _Part:
    """What is estimated at once: a continuation, or what of it lies in one block, given all before it."""

    owner: int  # index of the text
    tokens: npt.NDArray[np.int32]  # all up to the end of the part
    start: int
    samples: int
    token_logprobs: npt.NDArray[np.float64] = field(init=False)
    standard_error: float = 0.0

    def __post_init__(self) -> None:
        self.token_logprobs = np.zeros(len(self))

    def __len__(self) -> int:
        return len(self.tokens) - self.start


def estimate(
    model: LoadedModel, texts: Sequence[Sequence[Window]], estimator: str, samples: int, seeds: Sequence[int]
) -> list[Score]:
    """One Score per text, which is one or several windows that are scored by themselves."""
    parts = [part for owner, windows in enumerate(texts) for part in _parts(model.config, owner, windows, samples)]
    ordered = model.config.attention == "semi_causal"
    if estimator == "exact":
        _check_enumerable(parts, model.config)
    for group in _groups(_with_draws(parts, estimator, ordered, seeds)):
        _read(model, group, with_errors=estimator != "exact")
    greedy = _greedy(model, parts, len(texts))
    owned: list[list[_Part]] = [[] for _ in texts]
    for part in parts:
        owned[part.owner].append(part)
    return [_score(own, is_greedy, estimator) for own, is_greedy in zip(owned, greedy, strict=True)]


def _score(parts: list[_Part], is_greedy: bool, estimator: str) -> Score:
    logprobs = np.concatenate([np.zeros(0), *(part.token_logprobs for part in parts)])
    return Score(
        logprob=float(logprobs.sum()),
        is_greedy=is_greedy,
        num_tokens=len(logprobs),
        token_logprobs=logprobs.astype(np.float32),
        standard_error=float(np.sqrt(sum(part.standard_error**2 for part in parts))),
        estimator=estimator,
    )


# What is estimated


def _parts(config: ModelConfig, owner: int, windows: Sequence[Window], samples: int) -> Iterator[_Part]:
    for context, continuation in windows:
        tokens = np.array([*context, *continuation], dtype=np.int32)
        start, end = len(context), len(tokens)
        while start < end:
            stop = end
            if config.attention == "block_causal":
                assert config.block_length is not None
                stop = min(end, (start // config.block_length + 1) * config.block_length)
            # Two draws at least, without which there is no standard error.
            share = int(samples * (stop - start) / len(continuation) + 0.5)
            yield _Part(owner, tokens[:stop], start, max(share, min(samples, 2)))
            start = stop


def _check_enumerable(parts: list[_Part], config: ModelConfig) -> None:
    most = _MOST_ORDERED_TOKENS if config.attention == "semi_causal" else _MOST_TOKENS
    what = "in every order " if config.attention == "semi_causal" else ""
    where = " in one block" if config.attention == "block_causal" else ""
    for part in parts:
        if len(part) > most:
            raise ValueError(
                f"estimator 'exact' reads every set of masks {what}and takes at most {most} tokens{where};"
                f" continuations[{part.owner}] has {len(part)}: use {estimators_of(config)[0]!r}"
            )


# What is masked


def _with_draws(
    parts: list[_Part], estimator: str, ordered: bool, seeds: Sequence[int]
) -> Iterator[tuple[_Part, list[Draw]]]:
    """Parts with their draws, which depend on the text's own seed alone."""
    owner, rng = -1, np.random.default_rng(0)
    for part in parts:
        if part.owner != owner:
            owner, rng = part.owner, np.random.default_rng(seeds[part.owner])
        if estimator == "exact":
            yield part, all_draws(len(part), ordered=ordered)
        else:
            yield part, random_draws(len(part), part.samples, ordered=ordered, rng=rng)


def _groups(pairs: Iterator[tuple[_Part, list[Draw]]]) -> Iterator[list[tuple[_Part, list[Draw]]]]:
    """So many at once that forwards are full; draws of all parts together could fill the memory."""
    group: list[tuple[_Part, list[Draw]]] = []
    count = 0
    for part, draws in pairs:
        group.append((part, draws))
        count += len(draws)
        if count >= _CANVASES:
            yield group
            group, count = [], 0
    if group:
        yield group


# What is read


def _read(model: LoadedModel, group: list[tuple[_Part, list[Draw]]], *, with_errors: bool) -> None:
    """Fills in the parts. A canvas that was drawn several times is read once."""
    reads = {(i, draw.masks): part for i, (part, draws) in enumerate(group) for draw in draws}
    answers = dict(zip(reads, _read_masks(model, [(part, key[1]) for key, part in reads.items()]), strict=True))
    for i, (part, draws) in enumerate(group):
        values = np.zeros(len(draws))
        for j, draw in enumerate(draws):
            terms = draw.weight * answers[i, draw.masks][0].astype(np.float64)
            part.token_logprobs[list(draw.masks)] += terms
            values[j] = len(draws) * terms.sum()
        # A single token has one set of masks only: nothing is random.
        if with_errors and len(part) > 1:
            part.standard_error = standard_error(values, len(part))


_Answer = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float32]]


def _read_masks(model: LoadedModel, reads: Sequence[tuple[_Part, tuple[int, ...]]]) -> list[_Answer]:
    """What the model says at the masks of each canvas about the part's own tokens."""
    mask = model.config.mask_token_id
    assert mask is not None
    canvases, positions, tokens = [], [], []
    for part, masks in reads:
        masked = part.start + np.array(masks, dtype=np.int32)
        canvas = part.tokens.copy()
        canvas[masked] = mask
        canvases.append(canvas)
        positions.append(masked)
        tokens.append(part.tokens[masked])
    orders = positions if model.config.attention == "semi_causal" else None
    return model.engine.read_masked(canvases, positions, tokens, orders)


def _greedy(model: LoadedModel, parts: list[_Part], num_texts: int) -> list[bool]:
    """Whether decoding the surest mask in each forward, part after part, writes every text.

    Every part starts from the given tokens before it, which is what decoding has written if it is to
    reach the part at all; a text is given up at the first token that differs.
    """
    greedy = [True] * num_texts
    left = [(part, tuple(range(len(part)))) for part in parts]
    while left:
        following = []
        for begin in range(0, len(left), _CANVASES):
            batch = [(part, masks) for part, masks in left[begin : begin + _CANVASES] if greedy[part.owner]]
            for (part, masks), (_, is_argmax, max_probs) in zip(batch, _read_masks(model, batch), strict=True):
                surest = int(max_probs.argmax())
                greedy[part.owner] = greedy[part.owner] and bool(is_argmax[surest])
                if len(masks) > 1:
                    following.append((part, masks[:surest] + masks[surest + 1 :]))
        left = [(part, masks) for part, masks in following if greedy[part.owner]]
    return greedy
