"""How many branches are written for a prompt, and which survive: the objects that `branches=` takes. Plain data; the
controllers are in the core (`cpp/src/control`), one file each.

Exact and approximate are meant with respect to self-consistency over the same branches: all run to their end and
the majority answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

__all__ = [
    "AdaptiveConsistency",
    "BetaStop",
    "Branches",
    "DeepConf",
    "EarlyStoppingConsistency",
    "LikelyLead",
    "LosslessLead",
    "MemoryPrune",
    "ParallelProbe",
    "Probe",
    "SelfConsistency",
    "ShortestFirst",
    "ThresholdStop",
    "Waves",
]

Vote = Literal["majority", "confidence"] | Callable[[Any], dict[str, float]]

_MOST = 2**31 - 1


def check_count(name: str, value: Any, *, least: int = 1, most: int = _MOST) -> None:
    """Raises TypeError unless `value` is an integer, ValueError unless it lies from least to most."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}, expected an integer")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, expected {least} to {most}")


def check_share(name: str, value: Any, *, below_one: bool) -> None:
    """Raises TypeError unless `value` is a number, ValueError unless it is above 0 and at most, or below, 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r}, expected a number")
    if not (0.0 < value < 1.0 or (value == 1.0 and not below_one)) or math.isnan(value):
        raise ValueError(f"{name} is {value}, expected above 0 and {'below' if below_one else 'at most'} 1")


@dataclass(frozen=True)
class Probe:
    """How an answer is forced out of a branch that still runs; and, as an action of a controller, `fs.Probe(i)`: probe
    branch i now.

    suffix: text or token ids that are appended to a copy of the branch; None: from the chat template or the
    bundled task. max_new_tokens: of the answer.
    """

    branch: int | None = None
    _: KW_ONLY
    suffix: str | Sequence[int] | None = None
    max_new_tokens: int = 24

    def __post_init__(self) -> None:
        if isinstance(self.branch, str):
            raise TypeError(f"fs.Probe({self.branch!r}): a suffix is named, fs.Probe(suffix={self.branch!r})")
        if self.branch is not None:
            check_count("branch", self.branch, least=0)
        check_count("max_new_tokens", self.max_new_tokens)


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What all controllers take."""

    order: Literal["virtual", "arrival"] | None = None
    answer: Callable[[Any], str | None] | None = None
    equal: Literal["numeric"] | Callable[[str, str], bool] | None = None
    vote: Vote = "majority"
    probe: Probe = Probe()


@dataclass(frozen=True)
class Branches(_Common):
    """The base of all controllers.

    order: "virtual": decisions are as with unlimited memory. "arrival" (approximate): branches that wait for memory
    keep nobody waiting; the same while all fit. None: "arrival" where they may not all fit.
    answer: what finds the answer in a text (fs.answers, or a function); None: the bundled task's own, else boxed().
    equal: when two answers are the same one: None: normalised strings; "numeric"; or a function of two.
    vote: how the finished branches' answers are weighed at the end: "majority"; "confidence": by the branches'
    confidences; or a function of the view that returns {answer: weight}.
    probe: how answers are forced out of branches that still run.
    """

    name: ClassVar[str] = ""  # in the core's table
    exact: ClassVar[bool] = False
    votes: ClassVar[tuple[str, ...]] = ("majority", "confidence", "function")

    def __post_init__(self) -> None:
        if self.order not in (None, "virtual", "arrival"):
            raise ValueError(f"order is {self.order!r}, expected 'virtual', 'arrival' or None")
        if self.answer is not None and not callable(self.answer):
            raise TypeError(f"answer is {self.answer!r}, expected a function or one of fs.answers")
        if self.equal is not None and self.equal != "numeric" and not callable(self.equal):
            raise ValueError(f"equal is {self.equal!r}, expected 'numeric', a function or None")
        if not isinstance(self.probe, Probe):
            raise TypeError(f"probe is {self.probe!r}, expected fs.Probe(suffix=..., max_new_tokens=...)")
        if self.probe.branch is not None:
            raise ValueError(f"probe is {self.probe!r}, which is an action; expected fs.Probe(suffix=..., ...)")
        kind = "function" if callable(self.vote) else self.vote
        if kind not in self.votes:
            raise ValueError(
                f"vote is {self.vote!r}, but {type(self).__name__} takes {' or '.join(map(repr, self.votes))}"
            )

    @property
    def num_branches(self) -> int:
        """The most branches that it starts."""
        return int(self.width)  # type: ignore[attr-defined]

    def core_options(self) -> dict[str, Any]:
        """What the core's controller of this name takes."""
        return {"width": self.num_branches}


@dataclass(frozen=True)
class SelfConsistency(Branches):
    """All branches run to their end, the majority answers (arXiv 2203.11171). Exact: it is the reference."""

    name: ClassVar[str] = "self_consistency"
    exact: ClassVar[bool] = True

    width: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("width", self.width)


@dataclass(frozen=True)
class ParallelProbe(Branches):
    """Every branch is probed every `interval` tokens; one that disagrees with the majority of probes and finished
    answers `patience` times in a row is pruned; a majority that stands for `stable` probes is the answer
    (arXiv 2602.03845, as the released code does it). Approximate.

    warmup: probes before disagreement is counted.
    """

    name: ClassVar[str] = "parallel_probe"
    votes: ClassVar[tuple[str, ...]] = ("majority",)

    width: int = 64
    interval: int = 500
    stable: int = 40
    patience: int = 7
    warmup: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "interval", "stable", "patience"):
            check_count(name, getattr(self, name))
        check_count("warmup", self.warmup, least=0)

    def core_options(self) -> dict[str, Any]:
        names = ("width", "interval", "stable", "patience", "warmup")
        return {name: int(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class LosslessLead(Branches):
    """Stops when the first answer of the finished branches leads the second by more branches than still run. Exact:
    none of these can change the majority.
    """

    name: ClassVar[str] = "lossless_lead"
    exact: ClassVar[bool] = True
    votes: ClassVar[tuple[str, ...]] = ("majority",)

    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("width", self.width)


@dataclass(frozen=True)
class ShortestFirst(Branches):
    """Stops when `count` branches have finished; these vote, and a tie goes to the answer of the shortest (short-m@k,
    arXiv 2505.17813). Approximate: long branches have no vote.
    """

    name: ClassVar[str] = "shortest_first"

    width: int = 64
    count: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("width", self.width)
        check_count("count", self.count)
        if self.count > self.width:
            raise ValueError(f"count is {self.count}, more than the width {self.width}")

    def core_options(self) -> dict[str, Any]:
        return {"width": int(self.width), "count": int(self.count)}


@dataclass(frozen=True)
class BetaStop(Branches):
    """Stops when at least min_finished branches have finished and, by their two most frequent answers' counts a and b,
    P(p > 1/2) >= confidence for p ~ Beta(a + 1, b + 1): the test of Adaptive-Consistency (arXiv 2305.11860), over
    branches that run side by side. Approximate: long branches have no vote.
    """

    name: ClassVar[str] = "beta_stop"

    width: int = 32
    confidence: float = 0.9
    min_finished: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("width", self.width)
        check_share("confidence", self.confidence, below_one=True)
        check_count("min_finished", self.min_finished)

    def core_options(self) -> dict[str, Any]:
        return {
            "width": int(self.width),
            "confidence": float(self.confidence),
            "min_finished": int(self.min_finished),
        }


@dataclass(frozen=True)
class LikelyLead(Branches):
    """Stops when the answer that leads among at least min_finished finished branches leads to the end with probability
    `confidence`, if the share `caution` of those that still run votes for the runner-up and the others vote
    like the finished ones (a Beta-binomial law over the two most frequent answers). What `branches="auto"` means.
    Approximate, but for caution=1, which is LosslessLead.

    caution: how far the finished branches may mislead about those that still run. 0 takes them for a fair sample, which
    they are not if short branches are right more often, or less often, than long ones.
    """

    name: ClassVar[str] = "likely_lead"
    votes: ClassVar[tuple[str, ...]] = ("majority",)

    width: int = 16
    confidence: float = 0.99
    caution: float = 0.5
    min_finished: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("width", self.width)
        check_share("confidence", self.confidence, below_one=True)
        check_number("caution", self.caution)
        if not 0.0 <= self.caution <= 1.0:
            raise ValueError(f"caution is {self.caution}, expected from 0 to 1")
        check_count("min_finished", self.min_finished)

    def core_options(self) -> dict[str, Any]:
        return {
            "width": int(self.width),
            "confidence": float(self.confidence),
            "caution": float(self.caution),
            "min_finished": int(self.min_finished),
        }


@dataclass(frozen=True)
class Waves(Branches):
    """Waves of branches, one after another: when `fraction` of a wave has finished its stragglers are pruned; then, if
    the majority of all that have finished is sure to `confidence` by BetaStop's test, it answers, else the
    next wave starts. Approximate: stragglers have no vote.
    """

    name: ClassVar[str] = "waves"

    sizes: Sequence[int] = (16, 48)
    fraction: float = 0.625
    confidence: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.sizes, str) or not isinstance(self.sizes, Sequence) or not self.sizes:
            raise ValueError(f"sizes is {self.sizes!r}, expected a sequence of branch counts")
        for size in self.sizes:
            check_count("a wave of sizes", size)
        check_share("fraction", self.fraction, below_one=False)
        check_share("confidence", self.confidence, below_one=True)

    @property
    def num_branches(self) -> int:
        return sum(self.sizes)

    def core_options(self) -> dict[str, Any]:
        return {
            "sizes": [int(size) for size in self.sizes],
            "fraction": float(self.fraction),
            "confidence": float(self.confidence),
        }


@dataclass(frozen=True)
class AdaptiveConsistency(Branches):
    """One branch after another, until the majority is sure to `confidence` by BetaStop's test, at most `width` (arXiv
    2305.11860). Approximate: branches that were not started have no vote.
    """

    name: ClassVar[str] = "adaptive_consistency"

    width: int = 64
    confidence: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("width", self.width)
        check_share("confidence", self.confidence, below_one=True)

    def core_options(self) -> dict[str, Any]:
        return {"width": int(self.width), "confidence": float(self.confidence)}


@dataclass(frozen=True)
class EarlyStoppingConsistency(Branches):
    """`window` branches at a time, until all of a window agree: theirs is the answer; else all `width` vote (ESC, arXiv
    2401.10480). Approximate: branches that were not started have no vote.
    """

    name: ClassVar[str] = "early_stopping_consistency"
    votes: ClassVar[tuple[str, ...]] = ("majority",)

    width: int = 64
    window: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("width", self.width)
        check_count("window", self.window)

    def core_options(self) -> dict[str, Any]:
        return {"width": int(self.width), "window": int(self.window)}


@dataclass(frozen=True)
class DeepConf(Branches):
    """Votes are weighted by the lowest mean confidence of any `group` tokens in a row (arXiv 2508.15260). Approximate.

    Online: `warmup` branches run to their end first; the bar is what the most confident `keep` of them reach.
    The others are pruned once they are below it, and the first answer with a share of `consensus` of the
    weight ends the request. Offline, warmup=width: all run to their end, and the most confident `keep` of
    them vote. keep=0.1 is the paper's "low", keep=0.9 its "high".
    """

    name: ClassVar[str] = "deep_conf"
    votes: ClassVar[tuple[str, ...]] = ("confidence",)

    width: int = 64
    warmup: int = 16
    keep: float = 0.1
    group: int = 2048
    consensus: float = 0.95
    _: KW_ONLY
    vote: Vote = "confidence"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "warmup", "group"):
            check_count(name, getattr(self, name))
        if self.warmup > self.width:
            raise ValueError(f"warmup is {self.warmup}, more than the width {self.width}")
        check_share("keep", self.keep, below_one=False)
        check_share("consensus", self.consensus, below_one=False)

    def core_options(self) -> dict[str, Any]:
        return {
            "width": int(self.width),
            "warmup": int(self.warmup),
            "keep": float(self.keep),
            "group": int(self.group),
            "consensus": float(self.consensus),
        }


@dataclass(frozen=True)
class ThresholdStop(Branches):
    """One branch, probed every `interval` tokens, that ends when a smoothed signal says so (Conformal Thinking, arXiv
    2602.03814). At `upper` or above, the probed answer is the answer. With gives_up it also ends, without an
    answer, at or below a threshold that rises with its tokens,
    base + (upper - base) * sigmoid(slope * (tokens - shift * budget)). Approximate. See fs.RiskBound for the thresholds.

    signal: "stability": the share of the last `window` probes that give the newest one's answer, probes that have not
    been made yet counted as others; "confidence": the lowest mean confidence of any `group` tokens in a row so far, as of
    DeepConf, in its own units: it only falls, and is not known before.
    smoothing: weight of the newest value in an exponential moving average; 1: none.
    warmup: tokens before which it does not end. slope: per token; 0 makes the lower threshold a constant half way
    between base and upper. shift: as a share of `budget` tokens.
    """

    name: ClassVar[str] = "threshold_stop"
    votes: ClassVar[tuple[str, ...]] = ("majority",)

    signal: Literal["stability", "confidence"] = "stability"
    upper: float = 0.95
    _: KW_ONLY
    interval: int = 500
    window: int = 10
    group: int = 2048
    smoothing: float = 0.5
    warmup: int = 0
    gives_up: bool = False
    base: float = -1.0
    slope: float = 0.0005
    shift: float = 1.0
    budget: int = 32768

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.signal not in ("stability", "confidence"):
            raise ValueError(f"signal is {self.signal!r}, expected 'stability' or 'confidence'")
        for name in ("interval", "window", "group", "budget"):
            check_count(name, getattr(self, name))
        check_count("warmup", self.warmup, least=0)
        check_share("smoothing", self.smoothing, below_one=False)
        for name in ("upper", "base", "slope", "shift"):
            check_number(name, getattr(self, name))
        if not isinstance(self.gives_up, bool):
            raise TypeError(f"gives_up is {self.gives_up!r}, expected True or False")

    @property
    def num_branches(self) -> int:
        return 1

    def core_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            name: int(getattr(self, name)) for name in ("interval", "window", "group", "warmup", "budget")
        }
        options |= {name: float(getattr(self, name)) for name in ("smoothing", "upper", "base", "slope", "shift")}
        return {"signal": self.signal, "gives_up": self.gives_up, **options}


@dataclass(frozen=True)
class MemoryPrune(Branches):
    """`inner`, and while its running branches hold more than kv_cache_bytes the least promising one is pruned: that with
    the fewest current votes for its answer, of these the least confident, of these the longest. Approximate.

    inner: another of these objects, or an fs.Controller. order, answer, equal, vote and probe are inner's.
    """

    name: ClassVar[str] = "memory_prune"
    votes: ClassVar[tuple[str, ...]] = ("majority",)

    inner: Any = None
    _: KW_ONLY
    kv_cache_bytes: int

    def __post_init__(self) -> None:
        if isinstance(self.inner, int):
            object.__setattr__(self, "inner", SelfConsistency(self.inner))
        if not isinstance(self.inner, Branches) and not hasattr(self.inner, "on_start"):
            raise TypeError(f"inner is {self.inner!r}, expected a controller such as fs.SelfConsistency(8)")
        defaults = _Common()
        for name in ("order", "answer", "equal", "vote", "probe"):
            if getattr(self, name) != getattr(defaults, name):
                raise ValueError(f"{name} is given to MemoryPrune; give it to the controller inside it")
            object.__setattr__(self, name, getattr(self.inner, name, getattr(defaults, name)))
        check_count("kv_cache_bytes", self.kv_cache_bytes, most=2**62)

    @property
    def num_branches(self) -> int:
        inner = self.inner
        return inner.num_branches if isinstance(inner, Branches) else int(inner.width)

    def core_options(self) -> dict[str, Any]:
        return {"kv_cache_bytes": int(self.kv_cache_bytes)}


def check_number(name: str, value: Any) -> None:
    """Raises TypeError unless `value` is a number, ValueError unless it is finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r}, expected a number")
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a finite number")
