"""Traces of controlled requests, made up: branches of every length that are probed, pruned, forked and stopped."""

from __future__ import annotations

import random
from typing import Any

WRONG = ("17", "33", "\\frac{1}{2}", "96", "a rather long answer that nobody wanted to read to its end", "ERR", "5")


def branch_trace(
    width: int = 16,
    *,
    interval: int = 500,
    rounds: int = 12,
    seed: int = 0,
    answer: str = "204",
    forks: int = 0,
    request: int = 0,
    first: int = 0,
    patience: int | None = 4,
) -> list[dict[str, Any]]:
    """The events of a request whose branches agree on `answer` more and more.

    rounds: of probes, before everything is stopped. forks: so many branches begin in the middle, from earlier ones.
    first: the number of its first sequence. patience: probes that differ before a branch is pruned; None: every branch runs
    to its own end.
    """
    rng = random.Random(seed)
    events: list[dict[str, Any]] = [
        {
            "kind": "request",
            "seconds": 0.0,
            "branch": first,
            "request": request,
            "sequences": 0,
            "max_length": 100_000,
            "seed": "7",
            "prompt": [1, 2, 3],
            "masks": [],
            "controller": "parallel_probe",
            "probe_interval": interval,
        }
    ]
    lengths, dissent, alive, votes = {}, {}, [], {}
    start_of, inherited_of = {}, {}

    def start(number: int, parent: int, inherited: int, clock: int) -> None:
        at = {"kind": "start", "seconds": 0.0, "branch": first + number, "request": request, "number": number}
        events.append({**at, "parent": parent, "inherited": inherited, "clock": clock})
        rounds_to_go = rng.lognormvariate(2.3, 0.7)
        lengths[number] = clock + int(interval * (min(rounds_to_go, rounds - 1) if patience is None else rounds_to_go))
        start_of[number], inherited_of[number], dissent[number] = clock, inherited, 0
        alive.append(number)

    def end(number: int, status: str, clock: int, reason: str) -> None:
        num_tokens = clock - start_of[number] + inherited_of[number]
        event = {"kind": "end", "seconds": 0.1, "step": clock, "branch": first + number, "status": status}
        event |= {"num_tokens": num_tokens, "clock": clock, "reason": reason}
        events.append(event | ({"answer": votes[number]} if number in votes else {}))
        alive.remove(number)

    for number in range(width - forks):
        start(number, -1, 0, 0)
    for round_ in range(1, rounds + 1):
        clock = round_ * interval
        for number in sorted(alive, key=lambda number: (lengths[number], number)):
            if lengths[number] < clock:
                votes[number] = answer if rng.random() < 0.75 else rng.choice(WRONG)
                end(number, "finished", lengths[number], "eos")
        if round_ == 3:
            for fork in range(width - forks, width):
                start(fork, sorted(alive)[fork % len(alive)], clock, clock)
        for number in sorted(alive):
            num_tokens = clock - start_of[number] + inherited_of[number]
            if num_tokens == inherited_of[number]:
                continue
            probe = {"kind": "probe", "seconds": 0.1, "step": clock, "branch": first + number}
            probe |= {"num_tokens": num_tokens, "probe_tokens": 9 + rng.randrange(8)}
            agrees = rng.random() < 0.2 + 0.7 * round_ / rounds
            said = None if rng.random() < 0.3 / round_ else answer if agrees else rng.choice(WRONG)
            events.append(probe | ({} if said is None else {"answer": said}))
            votes.pop(number, None)
            if said is not None:
                votes[number] = said
            dissent[number] = 0 if said == answer else dissent[number] + 1
        for number in sorted(alive):
            if patience is not None and dissent[number] >= patience and round_ > 4:
                end(number, "pruned", clock, "the last probes differed from the majority")
    clock = rounds * interval
    for number in sorted(alive):
        end(number, "stopped", clock, "the vote was stable for 9 probes")
    winner = min((n for n, said in votes.items() if said == answer), default=-1)
    outcome = {"kind": "outcome", "seconds": 0.2, "request": request, "winner": winner, "clock": clock}
    outcome |= {"reason": "the vote was stable for 9 probes"}
    events.append(outcome | ({"answer": answer} if winner >= 0 else {}))
    return events
