"""A strategy of one's own, as a Python generator.

    @fs.policy
    def greedy(view):
        rows = [fs.Row(token, position=i, rank=i, limit=i)
                for i, token in enumerate(view.tokens) if i >= view.cached]
        while True:
            rows[-1].ask = "argmax"
            readout = yield fs.Plan(rows)
            token = readout[0].token
            yield fs.Commit(tokens=[token])
            position = len(view.tokens) - 1
            rows = [fs.Row(token, position=position, rank=position, limit=position)]

    lm.generate(prompts, decoding=greedy())

The generator alternates: it yields a Plan and receives the readout of its asking rows, in their order;
it yields a Commit, and goes on. `view` is always up to date. When a branch is forked or resumed the
generator starts again from the view, so nothing that matters may live in its local variables alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from foresight._core import RowReadout

__all__ = ["Commit", "Plan", "Row", "Segment", "UserPolicy", "View", "policy"]

Ask = Literal["none", "argmax", "sample", "top_k", "confidence", "prob_of", "logits"]


@dataclass
class Row:
    """One row of the target forward.

    token: its token id. position: of the rotary embedding and of sliding windows.
    rank, limit: among the rows of a plan, q sees k iff rank[k] <= limit[q] or k is q; all see the cache.
    replaces: the cached slot whose place this row takes for this step (and for good when it is kept).
    ask: what is read out; k: how many tokens for "top_k"; prob_token: the token of "prob_of".
    draw: the number of the draw at this position, for strategies that draw a position more than once.
    """

    token: int
    position: int
    rank: int
    limit: int
    replaces: int | None = None
    ask: Ask = "none"
    k: int = 0
    prob_token: int = 0
    draw: int = 0


@dataclass
class Segment:
    """Rows of one model role; ancestors: one bit set per row instead of rank and limit."""

    rows: Sequence[Row]
    role: Literal["target"] = "target"
    ancestors: Sequence[int] | None = None


@dataclass
class Plan:
    """The rows of one forward.

    rows: of a single segment; or segments, for more than one.
    ancestors: for draft trees, one integer per row whose bit i says that the row sees row i.
    """

    rows: Sequence[Row] | None = None
    segments: Sequence[Segment] | None = None
    ancestors: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if (self.rows is None) == (self.segments is None):
            raise ValueError("a Plan has rows or segments, one of the two")
        if self.ancestors is not None and (self.rows is None or len(self.ancestors) != len(self.rows)):
            raise ValueError("ancestors go with rows, one bit set for each")


@dataclass
class Commit:
    """What stays of a forward.

    tokens: appended to the sequence, in order. keep: indices of the rows whose keys and values stay,
    ascending; None: those of the rows that continue the cached sequence.
    stop: ends the sequence with this finish reason.
    """

    tokens: Sequence[int] = ()
    keep: Sequence[int] | None = None
    stop: Literal["eos", "length", "controller"] | None = None


class View(Protocol):
    """The committed state of the sequence.

    tokens: prompt and everything committed. cached: how many of them the cache holds.
    max_length: the length that the sequence may not exceed.
    """

    @property
    def tokens(self) -> list[int]: ...
    @property
    def prompt_length(self) -> int: ...
    @property
    def cached(self) -> int: ...
    @property
    def max_length(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...


Steps = Generator[Plan | Commit, "list[RowReadout]", None]


class PolicyFunction(Protocol):
    """What @fs.policy decorates."""

    def __call__(self, view: View, /, *args: Any, **kwargs: Any) -> Steps: ...


@dataclass(frozen=True)
class UserPolicy:
    """A generator function with its arguments: what `decoding=` takes; called with a view it starts."""

    function: PolicyFunction
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __call__(self, view: View) -> Steps:
        return self.function(view, *self.args, **self.kwargs)


def policy(function: PolicyFunction) -> Callable[..., UserPolicy]:
    """Makes a strategy of a generator function ``f(view, *args, **kwargs)``: calling it with the arguments
    after `view` gives an object for `decoding=`. Raises TypeError for what is not callable.
    """
    if not callable(function):
        raise TypeError(f"fs.policy decorates a generator function, got {type(function).__name__}")

    @functools.wraps(function)
    def factory(*args: Any, **kwargs: Any) -> UserPolicy:
        return UserPolicy(function, args, kwargs)

    return factory
