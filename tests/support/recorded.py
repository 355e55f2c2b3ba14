"""Random recorded requests in the released structure, and events of traces, for tests."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

Records = list[dict[str, Any]]


def records(seed: int, questions: int = 4, branches: int = 20, freq: int = 10) -> Records:
    """Random records; as in the released files, the number of probes is not tokens // freq."""
    draw = random.Random(seed)
    made = []
    for number in range(questions):
        answers = ["1", "2", "3", "ERR"]
        weights = [draw.random() ** 2 + 0.02 for _ in answers]
        each_branch = []
        for _ in range(branches):
            tokens = draw.randrange(3, 40 * freq)
            probes = max(0, tokens // freq + draw.choice([0, 0, 1, -1, -3]))
            said = draw.choices(answers, weights, k=probes + 1)
            each_branch.append([said[:-1], tokens, said[-1]])
        gold = draw.choice(answers)
        made.append({"question": str(number), "gold_answer": gold, "probe_freq": freq, "each_branch": each_branch})
    return made


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "seconds": 0.5, "step": 1, **fields}


def request(first: int, number: int) -> dict[str, Any]:
    fields = {"branch": first, "request": number, "sequences": 0, "max_length": 99, "seed": "5", "prompt": [1, 2]}
    return event("request", **fields, masks=[], controller="parallel_probe", probe_interval=10)


def start(branch: int, number: int, **fields: Any) -> dict[str, Any]:
    return event(
        "start",
        **{"branch": branch, "request": 0, "number": number, "parent": -1, "inherited": 0, "clock": 0, **fields},
    )


def end(branch: int, status: str, tokens: int, answer: str | None = None, clock: int = 0) -> dict[str, Any]:
    said = {} if answer is None else {"answer": answer}
    return event("end", branch=branch, status=status, num_tokens=tokens, clock=clock or tokens, reason="eos", **said)


def probe(branch: int, tokens: int, answer: str) -> dict[str, Any]:
    return event("probe", branch=branch, num_tokens=tokens, probe_tokens=4, answer=answer)


def confidence(branch: int, tokens: int, value: float) -> dict[str, Any]:
    return event("confidence", branch=branch, num_tokens=tokens, value=value)


def lines(events: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(one) + "\n" for one in events)
