"""A stopping rule from a stated risk instead of a threshold: calibrated on recorded questions, with a bound that holds
for any number of them (Conformal Thinking, arXiv 2602.03814, with the testing of 2110.01052).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from foresight import branches as kinds
from foresight.risk_bounds import fixed_sequence, questions_needed, upper_bound

__all__ = ["RiskBound", "RiskSetting", "certify"]

# Of each class the option that RiskBound varies, from conservative to bold; shares of the width for counts.
_CONFIDENCES = (0.9999, 0.999, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6)
_GRIDS: dict[type, tuple[str, tuple[float, ...]]] = {
    kinds.BetaStop: ("confidence", _CONFIDENCES),
    kinds.Waves: ("confidence", _CONFIDENCES),
    kinds.AdaptiveConsistency: ("confidence", _CONFIDENCES),
    kinds.LikelyLead: ("caution", (1.0, 0.9, 0.75, 0.6, 0.5, 0.4, 0.25, 0.1, 0.0)),
    kinds.ShortestFirst: ("count", (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0)),
    kinds.ParallelProbe: ("stable", (60, 50, 40, 35, 30, 25, 20, 15, 10, 5)),
    kinds.ThresholdStop: ("upper", (1.0, 0.99, 0.975, 0.95, 0.925, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)),
}
# Of ThresholdStop's lower threshold: the share of the budget at which it has risen half way.
_SHIFTS = (1.25, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


@dataclass(frozen=True)
class RiskSetting:
    """What the calibration found for one controller.

    losses: mean loss over the calibration questions. bound: of the risk, at the level of its test. certified: passed, as
    did all before it. sequential_tokens, total_tokens: means per question.
    """

    controller: Any
    losses: float
    bound: float
    certified: bool
    sequential_tokens: float
    total_tokens: float


class RiskBound:
    """The cheapest of several settings of `inner` whose risk is certified: with probability at least 1 - delta over the
    calibration questions, a new question of their kind is lost with probability at most `risk`.

        bound = fs.RiskBound(fs.BetaStop(32), "traces.json", risk=0.05)
        lm.generate(prompts, branches=bound, do_sample=True)
        bound.certified, bound.settings

    Settings are tested from the most conservative to the boldest (fixed-sequence testing), so many settings
    cost nothing; of those that pass, that with the least total tokens on the calibration questions is taken. Each
    question counts once: draws of branches from one question are not independent. With draws=1 losses are 0
    or 1 and the bound is Clopper-Pearson's; with more, a question's loss is its mean over draws and the bound is
    Hoeffding-Bentkus's, which needs more questions.

    The promise is about questions like the calibration's, answered by the same model, prompt and sampling. It says
    nothing about another kind.

    Args:
        inner: a controller that has a grid (BetaStop, LikelyLead, Waves, AdaptiveConsistency, ShortestFirst,
            ParallelProbe, ThresholdStop), or controllers in order, the most conservative first.
        calibration: what fs.replay reads: a file, several, or records in memory.
        risk, delta: both in 0..1.
        loss: "differs": from the vote of all branches, run to their end (no labels needed); "wrong": from the
            recorded gold answer.
        lower_risk: for ThresholdStop, which then also gives up: on a new question it gives up what the same rule without
            giving up would not have lost with at most this probability; what is given up does not count for `risk`.
            Both promises then hold together: each is tested at delta / 2, the second for all values of `upper` at
            once. Where no lower threshold is certified it does not give up.
        draws: random draws of branches per question, as of fs.replay.

    Raises:
        ValueError: not even the first setting is certified; says how many questions would do. Files that are none, and
            what they lack, as fs.replay does.
    """

    def __init__(
        self,
        inner: Any,
        calibration: Any,
        *,
        risk: float = 0.05,
        delta: float = 0.1,
        loss: Literal["differs", "wrong"] = "differs",
        lower_risk: float | None = None,
        draws: int = 1,
    ) -> None:
        kinds.check_share("risk", risk, below_one=True)
        kinds.check_share("delta", delta, below_one=True)
        kinds.check_count("draws", draws)
        if loss not in ("differs", "wrong"):
            raise ValueError(f"loss is {loss!r}, expected 'differs' or 'wrong'")
        if lower_risk is not None:
            kinds.check_share("lower_risk", lower_risk, below_one=True)
            if not isinstance(inner, kinds.ThresholdStop):
                raise ValueError(f"lower_risk is for fs.ThresholdStop, inner is {type(inner).__name__}")
            delta = delta / 2
        self.risk, self.delta, self.loss, self.lower_risk = risk, delta, loss, lower_risk
        grid = _grid(inner)
        columns = _replay_all(grid, calibration, loss, draws)
        self.num_questions = len(columns[0].losses)
        self.settings = _test(grid, columns, risk, delta, binary=draws == 1)
        if not self.settings[0].certified:
            raise ValueError(self._refusal(self.settings[0]))
        self.certified = _cheapest(self.settings)
        self.lower_settings: tuple[RiskSetting, ...] = ()
        if lower_risk is not None:
            without = columns[grid.index(self.certified)].losses
            lower: list[Any] = [dataclasses.replace(self.certified, gives_up=True, shift=shift) for shift in _SHIFTS]
            given_up = [
                dataclasses.replace(
                    column, losses=[max(0.0, a - b) for a, b in zip(column.losses, without, strict=True)]
                )
                for column in _replay_all(lower, calibration, loss, draws)
            ]
            # The same data chose `upper` among the grid's: the promise must hold for each of them.
            self.lower_settings = _test(lower, given_up, lower_risk, delta / len(grid), binary=draws == 1)
            if self.lower_settings[0].certified:
                self.certified = _cheapest(self.lower_settings)

    def __repr__(self) -> str:
        return f"RiskBound({self.certified!r}, risk={self.risk}, loss={self.loss!r}, questions={self.num_questions})"

    def _refusal(self, first: RiskSetting) -> str:
        needed = questions_needed(first.losses, self.risk, self.delta)
        more = (
            f"at this rate about {needed} questions would certify it"
            if needed is not None
            else "at this rate no number of questions would certify it: allow a larger risk, or use more branches"
        )
        return (
            f"not even the most conservative setting, {first.controller!r}, is certified: "
            f"{first.losses * self.num_questions:g} of {self.num_questions} calibration questions were lost, so that its "
            f"risk may be {first.bound:.3g}, above {self.risk:g}, with delta {self.delta:g}; {more}"
        )


def certify(losses: Sequence[Sequence[float]], risk: float, delta: float, *, binary: bool) -> tuple[list[float], int]:
    """From the losses of each setting (settings x questions): the bounds of their risks at level delta, and how many
    settings, from the first on, are certified.
    """
    bounds = [upper_bound(column, delta, binary=binary) for column in losses]
    return bounds, fixed_sequence(bounds, risk)


@dataclass(frozen=True)
class _Column:
    """One setting over the calibration questions."""

    losses: list[float]
    sequential_tokens: float
    total_tokens: float


def _replay_all(grid: list[Any], calibration: Any, loss: str, draws: int) -> list[_Column]:
    from foresight.recorded import replay

    columns = []
    for controller in grid:
        results = [one for file in replay(calibration, controller, draws=draws) for one in file.per_question]
        kept = [one.same_as_full_vote if loss == "differs" else one.accuracy for one in results]
        for number, share in enumerate(kept):
            if math.isnan(share):
                lacks = "the ends of all branches" if loss == "differs" else "a gold answer"
                raise ValueError(f"calibration question {number} lacks {lacks}, which loss={loss!r} needs")
        columns.append(
            _Column(
                losses=[1.0 - share for share in kept],
                sequential_tokens=math.fsum(one.sequential_tokens for one in results) / len(results),
                total_tokens=math.fsum(one.total_tokens for one in results) / len(results),
            )
        )
    return columns


def _test(
    grid: list[Any], columns: list[_Column], risk: float, delta: float, *, binary: bool
) -> tuple[RiskSetting, ...]:
    bounds, passed = certify([column.losses for column in columns], risk, delta, binary=binary)
    return tuple(
        RiskSetting(
            controller=controller,
            losses=math.fsum(column.losses) / len(column.losses),
            bound=bound,
            certified=i < passed,
            sequential_tokens=column.sequential_tokens,
            total_tokens=column.total_tokens,
        )
        for i, (controller, column, bound) in enumerate(zip(grid, columns, bounds, strict=True))
    )


def _cheapest(settings: Sequence[RiskSetting]) -> Any:
    """A tie goes to the more cautious setting."""
    certified = [setting for setting in settings if setting.certified]
    return min(certified, key=lambda setting: setting.total_tokens).controller


def _grid(inner: Any) -> list[Any]:
    if isinstance(inner, (list, tuple)):
        if not inner:
            raise ValueError("inner is empty, expected controllers, the most conservative first")
        from foresight.controllers import num_branches, resolve

        listed = [resolve(controller) for controller in inner]
        widths = {num_branches(controller) for controller in listed}
        if len(widths) > 1:
            raise ValueError(
                f"the controllers of inner start up to {sorted(widths)} branches, expected one number for all"
            )
        return listed
    if type(inner) not in _GRIDS:
        names = ", ".join(sorted(kind.__name__ for kind in _GRIDS))
        raise ValueError(
            f"{type(inner).__name__} has no grid of settings; expected one of {names}, or a list of controllers, the "
            "most conservative first"
        )
    option, values = _GRIDS[type(inner)]
    if option == "count":
        values = tuple(sorted({max(1, round(value * inner.width)) for value in values}, reverse=True))
    return [dataclasses.replace(inner, **{option: value}) for value in values]
