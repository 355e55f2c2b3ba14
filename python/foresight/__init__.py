"""Foresight: decode language models in every direction at once.

    import foresight as fs

    lm = fs.LM.from_pretrained("path/or/hub-id")
    lm.generate([[1, 2, 3]], max_new_tokens=16)
    lm.complete("Once upon a time")

Importing this package imports nothing heavy; everything is loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foresight.errors import CacheFullError, CheckpointError, InternalError

if TYPE_CHECKING:
    from foresight import answers, losses, plots, tasks
    from foresight.acceptance import Acceptance
    from foresight.branches import (
        AdaptiveConsistency,
        BetaStop,
        DeepConf,
        EarlyStoppingConsistency,
        LikelyLead,
        LosslessLead,
        MemoryPrune,
        ParallelProbe,
        Probe,
        SelfConsistency,
        ShortestFirst,
        ThresholdStop,
        Waves,
    )
    from foresight.controller import Controller, Fork, Prune, Start, Stop
    from foresight.cost_curve import CostCurve
    from foresight.decoding import (
        Autoregressive,
        BlockDiffusion,
        LatentAutoregressive,
        MaskedDiffusion,
        Speculative,
        Strided,
    )
    from foresight.draft_head import DraftHead
    from foresight.drafters import Drafter, EarlyExit, PromptLookup, SyntheticDrafter
    from foresight.generation import GenerationConfig
    from foresight.lm import LM
    from foresight.output import Branch, GenerateOutput, Score, Stats, StreamEvent
    from foresight.policies import Commit, Plan, Row, Segment, policy
    from foresight.reasoning_cache import ReasoningCache
    from foresight.recorded import ReplayResult, replay
    from foresight.risk import RiskBound, RiskSetting
    from foresight.suffix_tree import SuffixTree

    __version__: str

__all__ = [
    "LM",
    "Acceptance",
    "AdaptiveConsistency",
    "Autoregressive",
    "BetaStop",
    "BlockDiffusion",
    "Branch",
    "CacheFullError",
    "CheckpointError",
    "Commit",
    "Controller",
    "CostCurve",
    "DeepConf",
    "DraftHead",
    "Drafter",
    "EarlyExit",
    "EarlyStoppingConsistency",
    "Fork",
    "GenerateOutput",
    "GenerationConfig",
    "InternalError",
    "LatentAutoregressive",
    "LikelyLead",
    "LosslessLead",
    "MaskedDiffusion",
    "MemoryPrune",
    "ParallelProbe",
    "Plan",
    "Probe",
    "PromptLookup",
    "Prune",
    "ReasoningCache",
    "ReplayResult",
    "RiskBound",
    "RiskSetting",
    "Row",
    "Score",
    "Segment",
    "SelfConsistency",
    "ShortestFirst",
    "Speculative",
    "Start",
    "Stats",
    "Stop",
    "StreamEvent",
    "Strided",
    "SuffixTree",
    "SyntheticDrafter",
    "ThresholdStop",
    "Waves",
    "__version__",
    "answers",
    "losses",
    "plots",
    "policy",
    "replay",
    "tasks",
]

_HOME = {
    "LM": "lm",
    "Acceptance": "acceptance",
    "Autoregressive": "decoding",
    "BlockDiffusion": "decoding",
    "LatentAutoregressive": "decoding",
    "MaskedDiffusion": "decoding",
    "Speculative": "decoding",
    "Strided": "decoding",
    "AdaptiveConsistency": "branches",
    "BetaStop": "branches",
    "DeepConf": "branches",
    "EarlyStoppingConsistency": "branches",
    "LikelyLead": "branches",
    "LosslessLead": "branches",
    "MemoryPrune": "branches",
    "ParallelProbe": "branches",
    "Probe": "branches",
    "SelfConsistency": "branches",
    "ShortestFirst": "branches",
    "ThresholdStop": "branches",
    "Waves": "branches",
    "Controller": "controller",
    "Fork": "controller",
    "Prune": "controller",
    "Start": "controller",
    "Stop": "controller",
    "ReplayResult": "recorded",
    "replay": "recorded",
    "RiskBound": "risk",
    "RiskSetting": "risk",
    "CostCurve": "cost_curve",
    "DraftHead": "draft_head",
    "Drafter": "drafters",
    "EarlyExit": "drafters",
    "PromptLookup": "drafters",
    "SuffixTree": "suffix_tree",
    "SyntheticDrafter": "drafters",
    "GenerationConfig": "generation",
    "Branch": "output",
    "GenerateOutput": "output",
    "Score": "output",
    "Stats": "output",
    "StreamEvent": "output",
    "ReasoningCache": "reasoning_cache",
    "Commit": "policies",
    "Plan": "policies",
    "Row": "policies",
    "Segment": "policies",
    "policy": "policies",
    "__version__": "_core",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("answers", "losses", "plots", "tasks"):
        return import_module(f"foresight.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'foresight' has no attribute {name!r}")
    value = getattr(import_module(f"foresight.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
