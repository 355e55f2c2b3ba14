"""What calls return: GenerateOutput with its Stats, StreamEvent, Score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Branch", "GenerateOutput", "Score", "Stats", "StreamEvent"]


@dataclass
class Stats:
    """What a call, or one of its sequences, has cost.

    forwards: target forwards in which at least one row belonged to it; rows: target rows in them.
    tokens_per_forward: new tokens per forward that decided one, of a sequence; of a call: the mean over
    its sequences. draft_forwards: of a drafter's own model. drafted_tokens, accepted_tokens: guesses, and
    those that were right; drafted_at, accepted_at: the same per place in a row of guesses, how many rows of
    guesses reached that far, drafted and accepted. draft_seconds: in drafters; verify_seconds: in
    forwards of the model that tested guesses; both of the whole call.
    latent_rows, candidate_rows: mask rows that could not, and could, be decided in their forward.
    probe_tokens: suffixes of probes and what was written behind them. sequential_tokens: with branches, the tokens
    that had to come one after another: the largest start + tokens of a branch, where a branch that
    starts later starts at that clock; of a call the largest of its prompts. recomputed_rows: computed again after their cache was taken away.
    peak_cache_bytes, seconds: of the whole call. seed: the call's, or the prompt's.
    approximations: options that leave the law of the strategy's reference.
    """

    forwards: int = 0
    rows: int = 0
    generated_tokens: int = 0
    tokens_per_forward: float = 0.0
    draft_forwards: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    drafted_at: tuple[int, ...] = ()
    accepted_at: tuple[int, ...] = ()
    draft_seconds: float = 0.0
    verify_seconds: float = 0.0
    latent_rows: int = 0
    candidate_rows: int = 0
    probe_tokens: int = 0
    sequential_tokens: int = 0
    recomputed_rows: int = 0
    preemptions: int = 0
    peak_cache_bytes: int = 0
    seconds: float = 0.0
    seed: int | list[int] | None = None
    approximations: tuple[str, ...] = ()
    per_sequence: list[Stats] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether the result has the law of the strategy's reference."""
        return not self.approximations

    @classmethod
    def from_core(
        cls,
        counters: Mapping[str, int | float],
        *,
        seed: int | list[int] | None,
        approximations: tuple[str, ...],
        per_sequence: list[Stats] | None = None,
    ) -> Stats:
        """Takes the core's counters over; those that it does not report are zero."""
        names = cls.__dataclass_fields__.keys() - {"seed", "approximations", "per_sequence", "tokens_per_forward"}
        values: dict[str, Any] = {name: counters[name] for name in names if name in counters}
        for name in ("drafted_at", "accepted_at"):
            values[name] = tuple(values.get(name, ()))
        stats = cls(**values, seed=seed, approximations=approximations, per_sequence=per_sequence or [])
        if per_sequence:
            stats.tokens_per_forward = sum(s.tokens_per_forward for s in per_sequence) / len(per_sequence)
        elif counters.get("decode_forwards"):
            stats.tokens_per_forward = stats.generated_tokens / counters["decode_forwards"]
        return stats


@dataclass
class GenerateOutput:
    """What generate returns with return_dict_in_generate=True. Lists have one entry per sequence; the
    sequences of one prompt stand side by side.

    sequences: as generate returns them without. new_tokens: ids. new_positions: where they stand in
    the unpadded sequence. texts: of the new tokens, special tokens left out; None without a tokenizer.
    scores, logits: a tuple with one float32 [sequences, vocab] per new token, processed and raw; the
    rows of a sequence that has ended are 0 at the padding token and -inf elsewhere.
    logprobs, raw_logprobs: float32 [new tokens], under the processed and the raw distribution.
    top_logprobs: per new token the k best of the processed distribution, (token, log-probability).
    finish_reasons: "eos" | "length" | "stop_string" | "criteria" | "time" | "controller".
    decoding: the resolved strategy. seed: as given, or the fresh one.
    With branches=, the lists above are of each prompt's winner; where its answer was forced by a probe, the
    winner ends with that probe's suffix and answer, for which there are no scores and log-probabilities.
    branches: per prompt all its branches. answers: per prompt, None where there is none. votes: per
    prompt {answer: weight}, the heaviest first.
    """

    sequences: Any
    new_tokens: list[list[int]]
    new_positions: list[list[int]]
    texts: list[str] | None
    finish_reasons: list[str]
    stats: Stats
    decoding: Any
    seed: int | list[int]
    scores: tuple[Any, ...] | None = None
    logits: tuple[Any, ...] | None = None
    logprobs: list[npt.NDArray[np.float32]] | None = None
    raw_logprobs: list[npt.NDArray[np.float32]] | None = None
    top_logprobs: list[list[list[tuple[int, float]]]] | None = None
    branches: list[list[Branch]] | None = None
    answers: list[str | None] | None = None
    votes: list[dict[str, float]] | None = None


@dataclass(frozen=True)
class Branch:
    """One branch of a prompt.

    tokens: new ones. status: "finished" (ended by itself), "pruned" (by the controller, without a vote) or
    "stopped" (it was running when the request ended). reason: a finish reason, or the controller's words.
    answer: of a finished branch its own, else that of its last probe. probes: (tokens so far, answer).
    """

    tokens: list[int]
    status: str
    reason: str
    answer: str | None
    probes: list[tuple[int, str | None]]


@dataclass(frozen=True)
class StreamEvent:
    """Tokens that have become final.

    index: of the prompt. branch: which of the prompt's sequences. positions: in the unpadded sequence.
    text: what these tokens add; characters that are not complete yet come with a later event. None
    without a tokenizer. finish_reason: on the sequence's last event.
    """

    index: int
    branch: int
    positions: list[int]
    tokens: list[int]
    text: str | None
    finish_reason: str | None


@dataclass(frozen=True)
class Score:
    """The log-probability of a continuation given its context, or an estimate of it.

    logprob: in nats, the sum of token_logprobs (float32 [num_tokens]), which for diffusion models are
    what each token contributes on average. is_greedy: whether greedy decoding would have written it;
    for diffusion models one token per forward, the surest mask first (semi-causal: masks stand in order
    of position), block after block. standard_error: of logprob; 0 where nothing is drawn, nan where one
    sample was; with stratified samples it errs on the large side. estimator: "chain", "monte_carlo",
    "blockwise" or "exact".
    """

    logprob: float
    is_greedy: bool
    num_tokens: int
    token_logprobs: npt.NDArray[np.float32]
    standard_error: float = 0.0
    estimator: str = "chain"
