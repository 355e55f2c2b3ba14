"""Controllers compared on recorded traces and on synthetic ones, and how the recommended one was chosen.

    python benchmarks/controllers.py TRACES.json ... [--draws 100] [--smoke]    -> benchmarks/results/controllers.json

Every controller sees the same draws. Differences are paired over questions; their intervals are 95 % bootstrap intervals
over questions, the unit that is independent. The choice of settings is shown as it works on a question, or on a family of
synthetic traces, that had no part in it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from support.results import rounded, write_result

import foresight as fs
from foresight.recorded import Recording, read
from foresight.recorded.synthetic import FAMILIES, synthetic_records
from foresight.risk import certify

COLUMNS = ("accuracy", "sequential_tokens", "total_tokens", "probes", "same_as_full_vote")
RESULT = Path(__file__).resolve().parent / "results" / "controllers.json"
BASELINES = {f"ParallelProbe({width})": fs.ParallelProbe(width) for width in (64, 32, 16)}
CONTROLLERS: dict[str, Any] = {
    **BASELINES,
    "SelfConsistency(64)": fs.SelfConsistency(64),
    "SelfConsistency(16)": fs.SelfConsistency(16),
    "AdaptiveConsistency(64)": fs.AdaptiveConsistency(64),
    "EarlyStoppingConsistency(64)": fs.EarlyStoppingConsistency(64),
    "DeepConf(64)": fs.DeepConf(64),
    "LosslessLead(64)": fs.LosslessLead(64),
    "LosslessLead(16)": fs.LosslessLead(16),
    "ShortestFirst(64, 8)": fs.ShortestFirst(64, 8),
    "BetaStop(64, 0.95)": fs.BetaStop(64, 0.95),
    "BetaStop(32, 0.9)": fs.BetaStop(32, 0.9),
    "BetaStop(16, 0.95)": fs.BetaStop(16, 0.95),
    "Waves((16, 48))": fs.Waves(),
    "LikelyLead()": fs.LikelyLead(),
}
# What the choice is made from.
GRID = [
    fs.LikelyLead(width, confidence=confidence, caution=caution)
    for width in (12, 16, 20, 24, 32)
    for caution in (0.0, 0.25, 0.5, 0.75, 1.0)
    for confidence in (0.9, 0.95, 0.99)
]
# A setting may be chosen if it loses at most so many points of accuracy against ParallelProbe(64) on the recorded
# questions, and on no synthetic family more than so many against the vote of 64 branches.
MOST_LOST_TO_BASELINE = 0.5
MOST_LOST_ON_A_FAMILY = 10.0


def outcomes(questions: Recording, controller: Any, *, draws: int) -> np.ndarray:
    """Means over draws, [questions, len(COLUMNS)]."""
    (result,) = fs.replay(questions, controller, draws=draws)
    return np.array([[getattr(question, column) for column in COLUMNS] for question in result.per_question])


def interval(differences: np.ndarray, scale: float = 1.0) -> list[float]:
    """Mean and 95 % bootstrap interval over questions."""
    rng = np.random.default_rng(0)
    means = differences[rng.integers(len(differences), size=(10_000, len(differences)))].mean(axis=1)
    values = (differences.mean(), *np.quantile(means, (0.025, 0.975)))
    return [round(float(value) * scale, 2 if scale > 1 else 0) for value in values]


def differences(ours: np.ndarray, theirs: np.ndarray) -> dict[str, list[float]]:
    """Ours less theirs, of the means per question; accuracy in points."""
    paired = ours - theirs
    return {
        "accuracy_points": interval(paired[:, 0], 100.0),
        "sequential_tokens": interval(paired[:, 1]),
        "total_tokens": interval(paired[:, 2]),
    }


def facts(means: np.ndarray) -> dict[str, float]:
    """One line of a table."""
    error = means[:, 0].std(ddof=1) / len(means) ** 0.5
    return {
        "accuracy": round(100 * float(means[:, 0].mean()), 2),
        "standard_error": round(100 * float(error), 2),
        **{name: round(float(means[:, i].mean())) for i, name in enumerate(COLUMNS) if 1 <= i <= 3},
        "same_as_full_vote": round(float(means[:, 4].mean()), 4),
    }


def table(questions: Recording, draws: int) -> dict[str, Any]:
    """All controllers over one set of questions."""
    lines: dict[str, Any] = {}
    base = {name: outcomes(questions, controller, draws=draws) for name, controller in BASELINES.items()}
    for name, controller in CONTROLLERS.items():
        try:
            result = base[name] if name in base else outcomes(questions, controller, draws=draws)
        except ValueError as error:
            lines[name] = {"raises": str(error)}
            continue
        lines[name] = facts(result)
        for other, theirs in base.items():
            if other != name:
                lines[name][f"less {other}"] = differences(result, theirs)
    return lines


class Choice:
    """Chooses a setting of GRID: of those that may be chosen, that with the least geometric mean of sequential and total
    tokens, relative to ParallelProbe(64).
    """

    def __init__(self, questions: Recording, families: dict[str, Recording], draws: int, family_draws: int) -> None:
        self.base = outcomes(questions, fs.ParallelProbe(64), draws=draws)
        self.settings = np.stack([outcomes(questions, c, draws=draws) for c in GRID])
        self.families = list(families)
        lost = []
        for records in families.values():
            full = outcomes(records, fs.SelfConsistency(64), draws=family_draws)[:, 0].mean()
            lost.append([full - outcomes(records, c, draws=family_draws)[:, 0].mean() for c in GRID])
        self.lost = 100.0 * np.array(lost).T  # settings x families

    def best(self, questions: np.ndarray, families: np.ndarray, limit: float = MOST_LOST_ON_A_FAMILY) -> int:
        """Index of GRID, by the questions and families of the two masks."""
        ours, base = self.settings[:, questions].mean(axis=1), self.base[questions].mean(axis=0)
        cost = np.sqrt(ours[:, 1] / base[1] * ours[:, 2] / base[2])
        safe = self.lost[:, families].max(axis=1) <= limit
        allowed = safe & (100.0 * (ours[:, 0] - base[0]) >= -MOST_LOST_TO_BASELINE)
        if not allowed.any():  # then the most accurate of those that are safe, or of all
            return int(np.argmax(np.where(safe, ours[:, 0], ours[:, 0] - 1.0)))
        return int(np.argmin(np.where(allowed, cost, np.inf)))

    def report(self) -> dict[str, Any]:
        """The choice from everything, and what it is worth where it had not seen the question or the family."""
        count = self.base.shape[0]
        every_question, every_family = np.ones(count, bool), np.ones(len(self.families), bool)
        chosen = self.best(every_question, every_family)
        left_out = [self.best(np.arange(count) != q, every_family) for q in range(count)]
        unseen = np.stack([self.settings[index, q] for q, index in enumerate(left_out)])
        families = {}
        for i, family in enumerate(self.families):
            index = self.best(every_question, np.arange(len(self.families)) != i)
            families[family] = {"chosen": setting(index), "points_lost_on_it": round(float(self.lost[index, i]), 1)}
        return {
            "rule": f"least geometric mean of sequential and total tokens, at most {MOST_LOST_TO_BASELINE} points below "
            f"ParallelProbe(64), on no family more than {MOST_LOST_ON_A_FAMILY} below the vote of 64",
            "chosen": setting(chosen),
            "leave_one_question_out": {
                "chosen": dict(Counter(setting(index) for index in left_out).most_common()),
                "accuracy": round(100 * float(unseen[:, 0].mean()), 2),
                "sequential_tokens": round(float(unseen[:, 1].mean())),
                "total_tokens": round(float(unseen[:, 2].mean())),
                "less ParallelProbe(64)": differences(unseen, self.base),
            },
            "leave_one_family_out": families,
            "with_another_limit_on_families": {
                str(limit): setting(self.best(every_question, every_family, limit)) for limit in (7.5, 12.5, 15, 100)
            },
        }


def setting(index: int) -> str:
    """A setting of GRID in words."""
    c = GRID[index]
    return f"LikelyLead({c.width}, confidence={c.confidence}, caution={c.caution})"


def risk_simulation(families: dict[str, Recording], calibrations: int, questions: int) -> dict[str, Any]:
    """How often a certified risk is exceeded, over calibrations whose questions are drawn from all families."""
    records = Recording("all families", [one for family in families.values() for one in family.questions])
    grid = [fs.BetaStop(16, confidence) for confidence in (0.9999, 0.999, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6)]
    full = outcomes(records, fs.SelfConsistency(16), draws=1)
    results = [outcomes(records, controller, draws=1) for controller in grid]
    lost = {
        "differs": np.stack([1.0 - result[:, 4] for result in results]),
        "wrong": np.stack([1.0 - result[:, 0] for result in results]),
    }
    total = np.stack([result[:, 2] for result in results])
    risks = {"differs": (0.05, 0.1, 0.15), "wrong": (0.25, 0.3)}
    rng = np.random.default_rng(0)
    report: dict[str, Any] = {
        "pool_questions": len(records.questions),
        "calibration_questions": questions,
        "calibrations": calibrations,
        "delta": 0.1,
        "full_vote_wrong": rounded(1.0 - float(full[:, 0].mean())),
    }
    for loss, pool in lost.items():
        true_risk = pool.mean(axis=1)
        report[f"{loss}, risks of BetaStop(16) by confidence"] = {
            str(controller.confidence): rounded(float(share)) for controller, share in zip(grid, true_risk, strict=True)
        }
        for risk in risks[loss]:
            exceeded = certified = 0
            tokens = []
            for _ in range(calibrations):
                drawn = rng.integers(len(records.questions), size=questions)
                _, passed = certify([[float(x) for x in row] for row in pool[:, drawn]], risk, 0.1, binary=True)
                if passed == 0:
                    continue
                certified += 1
                chosen = min(range(passed), key=lambda i: total[i, drawn].mean())
                exceeded += bool(true_risk[chosen] > risk)
                tokens.append(total[chosen].mean() / full[:, 2].mean())
            report[f"{loss} at {risk}"] = {
                "certified": certified / calibrations,
                "exceeded": exceeded / calibrations,
                "total_tokens_of_the_full_vote": rounded(float(np.mean(tokens))) if tokens else None,
            }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", nargs="*", type=Path, help="files of the released Parallel-Probe format")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--smoke", action="store_true", help="few draws and questions, nothing written")
    options = parser.parse_args()
    draws, size = (4, 6) if options.smoke else (options.draws, 100)
    families = {family: read(synthetic_records(family, questions=size, seed=1)) for family in FAMILIES}
    traces = {path.name: read(json.loads(path.read_bytes())) for path in options.traces}
    result: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/controllers.py", *(path.name for path in options.traces)]),
        "draws": draws,
        "traces": {name: table(recording, draws) for name, recording in traces.items()},
        "synthetic": {family: table(records, max(4, draws // 5)) for family, records in families.items()},
    }
    result["choice"] = {
        name: Choice(recording, families, draws, max(4, draws // 5)).report() for name, recording in traces.items()
    }
    result["risk_bound"] = risk_simulation(families, *((20, 60) if options.smoke else (1000, 300)))
    for name, lines in {**result["traces"], **result["synthetic"]}.items():
        print(f"\n{name}", file=sys.stderr)
        for controller, line in lines.items():
            print(f"  {controller}: {line}", file=sys.stderr)
    print(result["choice"], result["risk_bound"], sep="\n", file=sys.stderr)
    if not options.smoke:
        write_result(RESULT, result)


if __name__ == "__main__":
    main()
