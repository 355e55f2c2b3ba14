"""How the branches of a prompt stand while they run: what live tables are drawn from. Plain data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

__all__ = ["LiveBranch", "Snapshot", "snapshot_of"]


class LiveBranch(TypedDict):
    """One branch: its number, "running", "finished", "pruned" or "stopped", its tokens, the last answer known of it,
    how often it was probed, and its confidence where somebody asked.
    """

    number: int
    status: str
    num_tokens: int
    answer: str | None
    probes: int
    confidence: float | None


class Snapshot(TypedDict):
    """The branches in the order of their numbers, the weight of each answer in the vote, and the clock in tokens."""

    branches: Sequence[LiveBranch]
    votes: dict[str, float]
    clock: int


def snapshot_of(records: Sequence[Mapping[str, Any]]) -> Snapshot:
    """From the core's records of a prompt's branches. The votes are the last known answers of all but the pruned ones, the
    most frequent first, a tie in the order of branches: so they go before a controller's own vote, which may
    count finished branches only. A branch that runs may be some tokens ahead of what its controller has been told, and
    is cut there when it is ended.
    """
    branches: list[LiveBranch] = [
        {
            "number": number,
            "status": record["status"],
            "num_tokens": record["num_tokens"],
            "answer": record["answer"],
            "probes": len(record["probes"]),
            "confidence": None if math.isnan(record["confidence"]) else record["confidence"],
        }
        for number, record in enumerate(records)
    ]
    known = Counter(b["answer"] for b in branches if b["answer"] is not None and b["status"] != "pruned")
    clocks = (record["start"] + record["num_tokens"] - record["inherited"] for record in records)
    return {
        "branches": branches,
        "votes": {answer: float(number) for answer, number in known.most_common()},
        "clock": max(clocks, default=0),
    }
