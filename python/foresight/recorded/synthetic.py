"""Synthetic recorded requests with a known truth, in the structure of the released Parallel-Probe traces.

A controller tuned on one recorded file may live off a habit of that file, above all off whether short branches are
right. These families have the habits that a real file cannot be asked for, each with one property in the extreme:

=================  ===============================================================================================
``easy``           nearly every branch is right, lengths are close together
``hard``           most branches are wrong, no two of them in the same way, and all are long
``bimodal``        two answers share nearly all branches, the right one usually ahead; lengths tell nothing
``long_tailed``    most branches are right; lengths spread over more than a factor of ten, up to the cap
``fast_but_wrong`` the wrong branches agree with each other and are half as long as the right majority
``slow_but_wrong`` the wrong branches disagree and are longer: what has been measured on real traces
``coin_flip``      two answers, one half each: no vote can be right in more than about half of the draws
``drifting``       most branches are right at the end, but until late their probes agree on a wrong answer
=================  ===============================================================================================

Everything is drawn from one numpy generator; the same arguments give the same records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# What a branch answers that ran into the cap, as in the released traces.
NO_RESULT = "ERR"


@dataclass(frozen=True)
class QuestionLaw:
    """How the branches of one question are drawn.

    Lengths are log-normal: ``median_tokens`` is the median of the right branches, ``spread`` the standard deviation
    of the logarithm, ``wrong_length`` the factor by which wrong branches are longer (below 1: shorter), ``cap`` the
    largest length; a branch that would be longer is cut there, and has no result with probability ``capped_errors``.

    A branch is right with probability ``right``. A wrong one gives the one rival answer with probability ``rival``,
    else one of ``num_strays`` others.

    Probes show the branch's own final answer from a share of its length on that is uniform in ``settles`` (two
    numbers in 0..1). Before that they show a decoy with probability ``misleading``, else a stray answer; the decoy is
    wrong and the same for all branches.
    """

    right: float
    rival: float = 0.2
    num_strays: int = 40
    median_tokens: float = 12000.0
    spread: float = 0.3
    wrong_length: float = 1.0
    cap: int = 41000
    capped_errors: float = 0.5
    settles: tuple[float, float] = (0.3, 0.9)
    misleading: float = 0.2


def _easy(rng: np.random.Generator) -> QuestionLaw:
    return QuestionLaw(right=rng.uniform(0.9, 1.0), median_tokens=rng.uniform(4000, 9000), spread=0.22)


def _hard(rng: np.random.Generator) -> QuestionLaw:
    return QuestionLaw(right=rng.uniform(0.02, 0.35), rival=0.25, median_tokens=rng.uniform(18000, 28000), spread=0.25)


def _bimodal(rng: np.random.Generator) -> QuestionLaw:
    return QuestionLaw(right=rng.uniform(0.45, 0.65), rival=0.95, median_tokens=rng.uniform(9000, 20000))


def _long_tailed(rng: np.random.Generator) -> QuestionLaw:
    return QuestionLaw(right=rng.uniform(0.65, 0.95), median_tokens=rng.uniform(6000, 12000), spread=0.8)


def _fast_but_wrong(rng: np.random.Generator) -> QuestionLaw:
    return QuestionLaw(
        right=rng.uniform(0.6, 0.75), rival=0.9, median_tokens=rng.uniform(12000, 20000), spread=0.25, wrong_length=0.5
    )


def _slow_but_wrong(rng: np.random.Generator) -> QuestionLaw:
    return QuestionLaw(
        right=rng.uniform(0.2, 0.95), rival=0.3, median_tokens=rng.uniform(6000, 20000), spread=0.3, wrong_length=1.4
    )


def _coin_flip(rng: np.random.Generator) -> QuestionLaw:
    return QuestionLaw(right=0.5, rival=1.0, median_tokens=rng.uniform(9000, 20000))


def _drifting(rng: np.random.Generator) -> QuestionLaw:
    return QuestionLaw(
        right=rng.uniform(0.7, 0.95), median_tokens=rng.uniform(18000, 26000), settles=(0.9, 1.0), misleading=0.9
    )


_LAWS: dict[str, Callable[[np.random.Generator], QuestionLaw]] = {
    "easy": _easy,
    "hard": _hard,
    "bimodal": _bimodal,
    "long_tailed": _long_tailed,
    "fast_but_wrong": _fast_but_wrong,
    "slow_but_wrong": _slow_but_wrong,
    "coin_flip": _coin_flip,
    "drifting": _drifting,
}
FAMILIES: tuple[str, ...] = tuple(_LAWS)


def synthetic_records(
    family: str, *, questions: int = 30, branches: int = 128, probe_freq: int = 500, seed: int = 0
) -> list[dict[str, Any]]:
    """Recorded requests of a family (one of ``FAMILIES``), ready to be written as JSON or replayed.

    Args:
        family: a name of the table above.
        questions: number of records.
        branches: branches per record.
        probe_freq: tokens between two probes of a branch.
        seed: of the numpy generator, which the family's name enters too.

    Raises:
        ValueError: an unknown family, or a count that is not positive.
    """
    if family not in _LAWS:
        raise ValueError(f"family {family!r} is not known; known are {', '.join(FAMILIES)}")
    for name, value in (("questions", questions), ("branches", branches), ("probe_freq", probe_freq)):
        if value < 1:
            raise ValueError(f"{name} is {value}, but must be at least 1")
    rng = np.random.default_rng([seed, *family.encode()])
    records = []
    for number in range(questions):
        record = synthetic_question(_LAWS[family](rng), rng, branches=branches, probe_freq=probe_freq)
        records.append({"question": f"{family} {number}", **record})
    return records


def synthetic_question(
    law: QuestionLaw, rng: np.random.Generator, *, branches: int = 128, probe_freq: int = 500
) -> dict[str, Any]:
    """One record, but for its question: gold_answer, probe_freq, final_answers_trace and each_branch."""
    # Distinct numbers, as wide apart as answers of three digits: the truth, the rival, the decoy, then strays.
    names = [str(n) for n in rng.permutation(1000)[: 3 + law.num_strays]]
    truth, rival, decoy, strays = names[0], names[1], names[2], names[3:]

    def stray() -> str:
        return strays[int(rng.integers(len(strays)))]

    each_branch: list[list[Any]] = []
    for _ in range(branches):
        is_right = rng.random() < law.right
        final = truth if is_right else rival if rng.random() < law.rival else stray()
        median = law.median_tokens * (1.0 if is_right else law.wrong_length)
        tokens = max(1, int(median * np.exp(law.spread * rng.standard_normal())))
        if tokens > law.cap:
            tokens = law.cap
            if rng.random() < law.capped_errors:
                final = NO_RESULT
        settled_at = tokens * rng.uniform(*law.settles)
        depths = range(probe_freq, tokens + 1, probe_freq)
        probes = [
            final if depth >= settled_at else decoy if rng.random() < law.misleading else stray() for depth in depths
        ]
        each_branch.append([probes, tokens, final])
    return {
        "gold_answer": truth,
        "probe_freq": probe_freq,
        "final_answers_trace": _majorities(each_branch),
        "each_branch": each_branch,
    }


def _majorities(each_branch: list[list[Any]]) -> list[str]:
    """The majority after each probe, branches that have ended voting with their final answers."""
    rounds = max(len(probes) for probes, _, _ in each_branch)
    columns = (
        Counter(probes[k] if k < len(probes) else final for probes, _, final in each_branch) for k in range(rounds)
    )
    return [column.most_common(1)[0][0] for column in columns]
