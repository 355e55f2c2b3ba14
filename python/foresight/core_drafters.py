"""From the objects of `foresight.drafters` to the core's drafters: what each needs of the model it
guesses for, what it costs, and how it is made for a call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from foresight import _core
from foresight.draft_head import DraftHead
from foresight.drafters import Drafter, EarlyExit, PromptLookup, SyntheticDrafter
from foresight.suffix_tree import SuffixTree
from foresight.vocabularies import vocabulary_map

if TYPE_CHECKING:
    from foresight.call import LoadedModel
    from foresight.checkpoint import ModelConfig

__all__ = ["Circumstances", "CoreDrafter", "Cost", "core_drafter"]


@dataclass(frozen=True)
class Circumstances:
    """What a drafter and its policy are told about a call.

    num_slots: tokens that all sequences may reach together, guesses included. seeded: the caller gave a
    seed, and expects the same tokens for it. measured_costs: nanoseconds of forwards of 1, 2, ... rows.
    """

    model: LoadedModel
    num_sequences: int
    num_slots: int
    do_sample: bool
    seeded: bool
    stateful_processors: bool
    measured_costs: Callable[[], list[int]]


@dataclass(frozen=True)
class Cost:
    """Of guesses, in forwards of the model with one row."""

    per_token: float = 0.0
    per_round: float = 0.0


def _row_bytes(model: LoadedModel, share: float = 1.0) -> float:
    """Bytes of weights that a forward of one row reads, its cost on most machines: a share of the layers, and the
    output head.
    """
    config = model.config
    head = _output_bytes(config)
    tables = head if config.tie_word_embeddings else 2 * head
    layers = max(0, model.engine.memory()["packed"] - tables)
    return share * layers + head


def _output_bytes(config: ModelConfig) -> int:
    return config.vocab_size * config.hidden_size * (4 if config.dtype == "float32" else 2)


class CoreDrafter(ABC):
    """A checked drafter for one model.

    grows_trees: whether it can rank continuations. synthetic_acceptance: with which guesses are accepted
    without a test; None: they are tested.
    """

    grows_trees = False
    synthetic_acceptance: float | None = None

    @abstractmethod
    def build(self, circumstances: Circumstances) -> _core.Drafter:
        """The core's drafter for a call."""

    def relative_cost(self, circumstances: Circumstances) -> Cost:
        """What guesses cost; nothing to speak of unless a model makes them."""
        del circumstances
        return Cost()

    def measured_cost(self, circumstances: Circumstances) -> Cost:
        """The same where it may differ from run to run: by what earlier calls took, if only they can tell."""
        return self.relative_cost(circumstances)


class _Synthetic(CoreDrafter):
    def __init__(self, drafter: SyntheticDrafter, config: ModelConfig) -> None:
        rate = drafter.acceptance
        good = rate is None or (isinstance(rate, (int, float)) and not isinstance(rate, bool) and 0 <= rate <= 1)
        if not good:
            raise ValueError(f"SyntheticDrafter: acceptance is {rate!r}, expected a number from 0 to 1, or None")
        self.synthetic_acceptance = None if rate is None else float(rate)

    def build(self, circumstances: Circumstances) -> _core.Drafter:
        return _core.RandomTokens(circumstances.model.config.vocab_size)


class _PromptLookup(CoreDrafter):
    def __init__(self, drafter: PromptLookup, config: ModelConfig) -> None:
        del config
        self.drafter = drafter

    def build(self, circumstances: Circumstances) -> _core.Drafter:
        return _core.PromptLookup(self.drafter.max_ngram, self.drafter.min_ngram)


class _SuffixTree(CoreDrafter):
    grows_trees = True

    def __init__(self, drafter: SuffixTree, config: ModelConfig) -> None:
        del config
        self.drafter = drafter

    def build(self, circumstances: Circumstances) -> _core.Drafter:
        return self.drafter.for_call()


@dataclass
class _ProposeClock:
    """How long a user's propose() took so far."""

    seconds: float = 0.0
    calls: int = 0


class _User(CoreDrafter):
    """What its propose() takes is known to the calls after the first one."""

    def __init__(self, drafter: Drafter, config: ModelConfig) -> None:
        del config
        self.drafter = drafter
        # Beside the user's own attributes, whatever the class defines as its equality or hash.
        self.clock: _ProposeClock = vars(drafter).setdefault("_propose_clock", _ProposeClock())

    def build(self, circumstances: Circumstances) -> _core.Drafter:
        return _core.python_drafter(self._propose, circumstances.model.config.vocab_size)

    def measured_cost(self, circumstances: Circumstances) -> Cost:
        if self.clock.calls == 0:
            return Cost()
        # It is called for one sequence after the other; a step is measured by one forward of them all.
        count = circumstances.num_sequences
        costs = circumstances.measured_costs()
        forward = costs[min(count, len(costs)) - 1]
        return Cost(per_round=1e9 * self.clock.seconds / self.clock.calls * count / forward)

    def _propose(self, tokens: Sequence[int]) -> Any:
        begin = perf_counter()
        guesses = self.drafter.propose(tokens)
        self.clock.seconds += perf_counter() - begin
        self.clock.calls += 1
        return guesses


class _EarlyExit(CoreDrafter):
    grows_trees = True

    def __init__(self, drafter: EarlyExit, config: ModelConfig) -> None:
        layer = drafter.layer
        good = hasattr(layer, "__index__") and not isinstance(layer, bool) and 1 <= layer < config.num_layers
        if not good:
            raise ValueError(
                f"EarlyExit: layer is {layer!r}, expected an integer from 1 to {config.num_layers - 1}: the model has"
                f" {config.num_layers} layers"
            )
        self.layer = int(layer)
        self.share = self.layer / config.num_layers

    def build(self, circumstances: Circumstances) -> _core.Drafter:
        engine = circumstances.model.engine
        return _core.DraftModel(
            engine,
            engine,
            num_layers=self.layer,
            num_slots=circumstances.num_slots,
            num_sequences=circumstances.num_sequences,
        )

    def relative_cost(self, circumstances: Circumstances) -> Cost:
        model = circumstances.model
        return Cost(per_token=_row_bytes(model, self.share) / _row_bytes(model))


class _Model(CoreDrafter):
    """Another LM."""

    grows_trees = True

    def __init__(self, drafter: Any, config: ModelConfig) -> None:
        self.model: LoadedModel = drafter.loaded
        own = self.model.config
        if own.attention != "causal" or not own.shifted:
            raise ValueError(
                f"the drafter has {own.attention} attention, but must be a causal model that predicts the next token"
            )

    def build(self, circumstances: Circumstances) -> _core.Drafter:
        target = circumstances.model
        mapped = vocabulary_map(target, self.model)
        return _core.DraftModel(
            target.engine,
            self.model.engine,
            num_slots=circumstances.num_slots * mapped.slots_per_token,
            num_sequences=circumstances.num_sequences,
            spelled=mapped.spelled,
            same=mapped.same,
        )

    def relative_cost(self, circumstances: Circumstances) -> Cost:
        return Cost(per_token=_row_bytes(self.model) / _row_bytes(circumstances.model))

    def measured_cost(self, circumstances: Circumstances) -> Cost:
        """Small models are not bound by the bytes of their weights: the two cost curves tell."""
        own = self.model.costs.costs(self.model.engine)
        target = circumstances.measured_costs()
        rows = min(circumstances.num_sequences, len(own), len(target))
        return Cost(per_token=own[rows - 1] / target[rows - 1])


class _Head(CoreDrafter):
    """A draft head. One with a path is read and checked at once; the model's own, when it is first needed."""

    def __init__(self, drafter: DraftHead, config: ModelConfig) -> None:
        self.drafter = drafter
        self.checkpoint = None if drafter.path is None else drafter.load(config, None)
        self.grows_trees = self.checkpoint is None or self.checkpoint.config.kind != "dflash"

    def build(self, circumstances: Circumstances) -> _core.Drafter:
        return _core.DraftHead(
            self._packed(circumstances.model),
            num_slots=circumstances.num_slots,
            num_sequences=circumstances.num_sequences,
        )

    def relative_cost(self, circumstances: Circumstances) -> Cost:
        model = circumstances.model
        head = self._packed(model)
        share = (head.packed_bytes + _output_bytes(model.config)) / _row_bytes(model)
        return Cost(per_token=share) if self.grows_trees else Cost(per_round=share)

    def _packed(self, model: LoadedModel) -> _core.Head:
        return model.heads.packed(self.drafter, model.engine, model.config, model.folder)


_MAKERS: list[tuple[type[Any], Callable[[Any, ModelConfig], CoreDrafter]]] = [
    (PromptLookup, _PromptLookup),
    (SuffixTree, _SuffixTree),
    (SyntheticDrafter, _Synthetic),
    (EarlyExit, _EarlyExit),
    (DraftHead, _Head),
    (Drafter, _User),
]


def core_drafter(drafter: Any, config: ModelConfig) -> CoreDrafter:
    """The checked form of a `drafter`. Raises TypeError for anything that is none."""
    from foresight.lm import LM

    for kind, make in _MAKERS:
        if isinstance(drafter, kind):
            return make(drafter, config)
    if isinstance(drafter, LM):
        return _Model(drafter, config)
    hint = "; call it first" if isinstance(drafter, type) else ""
    raise TypeError(
        f"drafter is {drafter!r}, expected fs.PromptLookup(), fs.SuffixTree(), an fs.LM, fs.EarlyExit(layer),"
        f" fs.DraftHead(path), fs.SyntheticDrafter(rate) or a subclass of fs.Drafter{hint}"
    )
