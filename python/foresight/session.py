"""A sequence with its cache, kept between calls: feed tokens, read logits, fork, go back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from foresight.call import Call, LoadedModel
from foresight.inputs import parse_token_lists
from foresight.streaming import run

if TYPE_CHECKING:
    from foresight._core import Session as CoreSession

__all__ = ["LOGITS", "Session", "extend"]

Logits = npt.NDArray[np.float32]
LOGITS = ("all", "last", "none")


class Session:
    """Made by `lm.session(ids)`; a context manager. Its tokens are never lost; their cache may be taken
    by running calls for a while and is then computed again.

    Raises ValueError once closed, and after `lm.refresh()`, when its cache belongs to other weights.
    """

    def __init__(
        self,
        model: LoadedModel,
        core: CoreSession,
        current: Callable[[], LoadedModel],
        next_logits: Logits | None = None,
    ) -> None:
        self._model = model
        self._core = core
        self._current = current
        self._next_logits = next_logits

    @property
    def tokens(self) -> list[int]:
        """All token ids so far."""
        return list(self._core.tokens)

    def __len__(self) -> int:
        return len(self._core)

    @property
    def next_logits(self) -> Logits:
        """float32 [vocab]: what the model says about the token after the last one."""
        if self._next_logits is None:
            core = self._usable()
            if not len(core):
                raise ValueError("the session is empty: there is nothing to say what follows")
            last = core.tokens[-1]
            probe = core.fork()
            try:
                probe.truncate(len(core) - 1)
                (logits,) = self._model.engine.extend([probe], [[last]], logits="last")
            finally:
                probe.close()
            assert logits is not None
            self._next_logits = logits[0].copy()
        return self._next_logits

    def append(self, ids: Any, logits: str = "last") -> Logits | None:
        """Adds token ids; returns the logits [n, vocab] of "all" of them or of the "last" one (n is 1),
        or None for "none".
        """
        (tokens,) = parse_token_lists([ids], vocab_size=self._model.config.vocab_size, what="ids")
        return extend(self._model, [self], [tokens], logits)[0]

    def fork(self, n: int = 1) -> list[Session]:
        """`n` sessions that go on from here by themselves; they share the cache so far."""
        if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
            raise ValueError(f"fork makes {n!r} sessions, expected an integer of at least 1")
        core = self._usable()
        return [Session(self._model, core.fork(), self._current, self._next_logits) for _ in range(n)]

    def truncate(self, n: int) -> None:
        """Goes back to the first `n` tokens."""
        core = self._usable()
        if not 0 <= n <= len(core):
            raise ValueError(f"cannot truncate {len(core)} tokens to {n}")
        if n < len(core):
            core.truncate(n)
            self._next_logits = None

    def generate(self, **options: Any) -> Any:
        """lm.generate on the session's tokens, starting from its cache; the session stays as it is."""
        for name in ("inputs", "input_ids", "attention_mask"):
            if name in options:
                raise TypeError(f"{name}: a session continues its own tokens; append what should come before")
        streamer = options.pop("streamer", None)
        core = self._usable()
        return run(Call(self._model, list(core.tokens), session=core, **options), streamer)

    def close(self) -> None:
        """Gives the cache back; closing twice does nothing."""
        self._core.close()

    def __enter__(self) -> Session:  # noqa: PYI034 (typing.Self came with 3.11)
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _usable(self) -> CoreSession:
        if self._current() is not self._model:
            raise ValueError("the weights were refreshed since this session was opened: open a new one")
        return self._core


def extend(
    model: LoadedModel, sessions: Sequence[Session], tokens: Sequence[list[int]], logits: str
) -> list[Logits | None]:
    """Appends to sessions of a model in shared forwards; the arrays are as Session.append returns them."""
    if logits not in LOGITS:
        raise ValueError(f"logits is {logits!r}, expected one of {', '.join(LOGITS)}")
    if not sessions:
        return []
    cores = [session._usable() for session in sessions]
    if any(session._model is not model for session in sessions):
        raise ValueError("a session belongs to another model")
    for session in sessions:
        session._next_logits = None
    results = model.engine.extend(cores, tokens, logits=logits)
    for session, result in zip(sessions, results, strict=True):
        session._next_logits = None if result is None else result[-1].copy()
    return results
