"""A controller of one's own: which branches start, fork, are probed, pruned, and when it is enough.

    class FirstTwoAgree(fs.Controller):
        width = 16

        def on_finish(self, view, branch):
            answer, votes = next(iter(view.vote().items()), (None, 0))
            return [fs.Stop(answer)] if votes >= 2 else []

    lm.generate(prompts, branches=FirstTwoAgree(), do_sample=True)
    fs.replay("traces.json", FirstTwoAgree())

Every request works on a deep copy of the object, so its attributes are the state of one request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from foresight.branches import Probe

if TYPE_CHECKING:
    from foresight._core import BranchesView

__all__ = ["Action", "Controller", "Fork", "Probe", "Prune", "Start", "Stop"]


@dataclass(frozen=True)
class Start:
    """`count` new branches from the prompt."""

    count: int = 1


@dataclass(frozen=True)
class Fork:
    """The branch goes on twice from here, the second time with draws of its own."""

    branch: int


@dataclass(frozen=True)
class Prune:
    """The branch ends, without a vote."""

    branch: int
    reason: str = ""


@dataclass(frozen=True)
class Stop:
    """The request ends with this answer; None: with that of the final vote."""

    answer: str | None = None
    reason: str = ""


Action = Start | Fork | Probe | Prune | Stop


class Controller:
    """The base of a user's controllers; attributes and methods are overridden.

    Events come in the order of a clock that counts tokens: it stands at the largest start + tokens reached
    so far. Those of one clock come in the order of branches, and on_interval after them.

    width: branches that the default on_start starts, and that a replay draws from.
    wants: "confidence" fills `view.branches[i].confidence` (the lowest mean over confidence_group tokens so
    far, see fs.DeepConf), "cache_bytes" fills `.cache_bytes`.
    interval: on_interval comes each time the clock has passed so many tokens; 0: never.
    probe_interval: every branch is probed each time it has so many more tokens; 0: only where fs.Probe(i) asks.
    order, answer, equal, vote, probe: as of fs.SelfConsistency.
    """

    width: int = 8
    wants: Collection[str] = ()
    interval: int = 0
    probe_interval: int = 0
    confidence_group: int = 2048

    order: Literal["virtual", "arrival"] | None = None
    answer: Callable[[Any], str | None] | None = None
    equal: Literal["numeric"] | Callable[[str, str], bool] | None = None
    vote: Literal["majority", "confidence"] = "majority"
    probe: Probe = Probe()

    def on_start(self, view: BranchesView) -> Sequence[Action] | None:
        """Before anything runs: starts the first branches."""
        return [Start(self.width)]

    def on_probe(self, view: BranchesView, branch: int) -> Sequence[Action] | None:
        """The branch was probed: the reading is the last of `view.branches[branch].probes`."""
        return None

    def on_finish(self, view: BranchesView, branch: int) -> Sequence[Action] | None:
        """The branch has ended by itself."""
        return None

    def on_interval(self, view: BranchesView) -> Sequence[Action] | None:
        """The clock has passed another `interval` tokens."""
        return None

    def votes(self, view: BranchesView) -> dict[str, float]:
        """The final weights of the answers; by default as `vote` says, among the finished branches, or where none
        of these has an answer among all that are not pruned, by their last probes.
        """
        raise NotImplementedError("the final vote is counted in the core")
