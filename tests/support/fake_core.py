"""A scripted stand-in for foresight._core: the face's own rules are tested without a model.

The next token is (last token + 1) modulo the vocabulary, unless `script` says otherwise; every step
emits `per_step` tokens per sequence. Calls are recorded in `jobs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

VOCAB = 50


@dataclass
class FakeSequence:
    prompt: list[int]
    options: dict[str, Any]
    new: list[int] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    reason: str | None = None


@dataclass
class FakeSession:
    tokens: list[int] = field(default_factory=list)
    closed: bool = False

    def __len__(self) -> int:
        return len(self.tokens)

    def fork(self) -> FakeSession:
        return FakeSession(list(self.tokens))

    def truncate(self, length: int) -> None:
        del self.tokens[length:]

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    def __init__(self, script: Any = None, per_step: int = 1, max_cached_tokens: int = 10_000) -> None:
        self.script = script or (lambda tokens: (tokens[-1] + 1) % VOCAB)
        self.per_step = per_step
        self.max_cached_tokens = max_cached_tokens
        self.jobs: list[FakeJob] = []
        self.sessions: list[FakeSession] = []

    def job(self) -> FakeJob:
        self.jobs.append(FakeJob(self))
        return self.jobs[-1]

    def session(self, max_length: int = 0) -> FakeSession:
        self.sessions.append(FakeSession())
        return self.sessions[-1]

    def memory(self) -> dict[str, int]:
        return {"weights": 1, "packed": 2, "cache": 3, "cache_used": 0, "cache_peak": 0}

    def logits(self, tokens: list[int]) -> np.ndarray:
        row = np.zeros(VOCAB, dtype=np.float32)
        row[self.script(tokens)] = 5.0
        return row

    def extend(self, sessions: Any, tokens: Any, logits: str = "last", hidden_layers: Any = None) -> list[Any]:
        results: list[Any] = []
        for session, new in zip(sessions, tokens, strict=True):
            rows = []
            for token in new:
                session.tokens.append(token)
                rows.append(self.logits(session.tokens))
            every = np.array(rows, dtype=np.float32)
            if hidden_layers is not None:
                every = np.zeros((len(new), len(hidden_layers), 4), dtype=np.float32)
            results.append({"all": every, "last": every[-1:], "none": None}[logits])
        return results

    def score(self, sequences: Any, starts: Any) -> list[Any]:
        results = []
        for tokens, start in zip(sequences, starts, strict=True):
            hits = [self.script(tokens[:i]) == tokens[i] for i in range(start, len(tokens))]
            logprobs = np.where(hits, -0.5, -2.0).astype(np.float32)
            results.append((logprobs, np.array(hits, dtype=np.bool_)))
        return results


class FakeJob:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.requests: list[list[FakeSequence]] = []
        self.closed = False
        self.steps = 0
        self.pending: list[Any] = []

    def add(self, tokens: list[int], **options: Any) -> int:
        count = options.get("num_sequences", 1)
        self.requests.append([FakeSequence(list(tokens), options) for _ in range(count)])
        return len(self.requests) - 1

    def advance(self, until: str = "done") -> list[Any]:
        events: dict[tuple[int, int], Any] = {}
        pending, self.pending = self.pending, []
        while not self.done():
            self.steps += 1
            finished = False
            for i, request in enumerate(self.requests):
                for j, sequence in enumerate(request):
                    if sequence.reason is None:
                        self._step(sequence, events.setdefault((i, j), _event(i, j)))
                        finished |= sequence.reason is not None
            if until == "step" or (until == "finished" and finished):
                break
        return [*pending, *events.values()]

    def _step(self, sequence: FakeSequence, event: Any) -> None:
        options = sequence.options
        for _ in range(self.engine.per_step):
            tokens = [*sequence.prompt, *sequence.new]
            scores = self.engine.logits(tokens)[None]
            prefix = options.get("prefix_processor")
            for processor in [*([prefix] if prefix else []), *options.get("processors", ())]:
                scores = np.asarray(processor(np.array([tokens], dtype=np.int64), scores.copy())).reshape(1, -1)
            token = int(scores[0].argmax())
            event.tokens.append(token)
            event.positions.append(len(tokens))
            sequence.new.append(token)
            sequence.scores.append(scores[0])
            if token in (options["sampling"]["eos_token_ids"] or ()):
                sequence.reason = "eos"
            elif len(sequence.new) >= options["max_new_tokens"]:
                sequence.reason = "length"
            event.finish_reason = sequence.reason
            if sequence.reason is not None:
                break

    def done(self) -> bool:
        return all(s.reason is not None for request in self.requests for s in request)

    def finish(self, request: int, sequence: int, num_new_tokens: int, reason: str) -> None:
        found = self.requests[request][sequence]
        del found.new[num_new_tokens:], found.scores[num_new_tokens:]
        found.reason = reason
        self.pending.append(_event(request, sequence, reason))

    def new_tokens(self, request: int, sequence: int) -> list[int]:
        return list(self.requests[request][sequence].new)

    def positions(self, request: int, sequence: int) -> list[int]:
        found = self.requests[request][sequence]
        return list(range(len(found.prompt), len(found.prompt) + len(found.new)))

    def finish_reason(self, request: int, sequence: int) -> str | None:
        return self.requests[request][sequence].reason

    def scores(self, request: int, sequence: int) -> np.ndarray:
        return np.array(self.requests[request][sequence].scores, dtype=np.float32)

    logits = scores

    def logprobs(self, request: int, sequence: int) -> Any:
        count = len(self.requests[request][sequence].new)
        wanted = self.requests[request][sequence].options["logprobs"]
        ones = np.full(count, -1.0, dtype=np.float32)
        return ones, ones * 2, [[(t, -1.0) for t in range(wanted)] for _ in range(count)]

    def stats(self) -> dict[str, int | float]:
        return {"forwards": self.steps, "generated_tokens": sum(len(s.new) for r in self.requests for s in r)}

    def sequence_stats(self, request: int, sequence: int) -> dict[str, int | float]:
        count = len(self.requests[request][sequence].new)
        return {"forwards": count, "generated_tokens": count, "decode_forwards": count}

    def close(self) -> None:
        self.closed = True


def _event(request: int, sequence: int, reason: str | None = None) -> Any:
    return SimpleNamespace(request=request, sequence=sequence, tokens=[], positions=[], finish_reason=reason)


def fake_lm(
    engine: FakeEngine | None = None,
    generation_config: dict[str, Any] | None = None,
    *,
    tokenizer: Any = None,
    chat_template: Any = None,
    **config: Any,
) -> Any:
    """An LM around the double; `config` are fields of ModelConfig."""
    from pathlib import Path

    from foresight.checkpoint import Checkpoint, parse_config
    from foresight.lm import LM

    raw = {
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 49,
        "pad_token_id": 0,
        **config,
    }
    defaults = generation_config or {}
    checkpoint = Checkpoint(
        path=Path("fake"),
        config=parse_config(raw, defaults),
        tensors={},
        tokenizer=tokenizer,
        chat_template=chat_template,
        generation_config=defaults,
    )
    return LM(checkpoint, engine or FakeEngine())
