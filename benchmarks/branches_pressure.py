"""64 branches of the bundled reasoner on a cache that holds about 20 of them.

    python benchmarks/branches_pressure.py [--problems 20] [--rounds 2] [--lock FILE] [--smoke]
                                                            -> benchmarks/results/branches_pressure.json

order="virtual" must decide as with a large cache, at the price of rows that are computed again; order="arrival" decides by
what has finished; MemoryPrune drops the least promising branches instead. One problem at a time, the same seeds for all.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Any

from support.machine import describe_machine, load_average
from support.results import rounded, write_result
from support.turns import turn

import foresight as fs

RESULT = Path(__file__).resolve().parent / "results" / "branches_pressure.json"
WIDTH, HELD = 64, 20
MAX_NEW_TOKENS = 800
INTERVAL = 8  # see branches_reasoner.py
CONTROLLERS: dict[str, Any] = {
    "SelfConsistency": fs.SelfConsistency(WIDTH),
    "LosslessLead": fs.LosslessLead(WIDTH),
    "LikelyLead": fs.LikelyLead(WIDTH),
    "BetaStop": fs.BetaStop(WIDTH),
    "ShortestFirst(count=8)": fs.ShortestFirst(WIDTH, count=8),
    "ParallelProbe": fs.ParallelProbe(WIDTH, interval=INTERVAL),
}
PRUNED = ("SelfConsistency", "LikelyLead")  # inside a MemoryPrune
LARGE, VIRTUAL, ARRIVAL, PRUNE = "large cache", "virtual", "arrival", "MemoryPrune"
COUNTED = (
    "sequential_tokens",
    "generated_tokens",
    "rows",
    "recomputed_rows",
    "preemptions",
    "forwards",
    "probe_tokens",
)


def generate(lm: fs.LM, problem: Any, seed: int, controller: Any) -> Any:
    return lm.generate(
        [problem.prompt],
        branches=controller,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        max_new_tokens=MAX_NEW_TOKENS,
        seed=seed,
        return_dict_in_generate=True,
    )


def decisions(out: Any) -> Any:
    """All that must be alike where decisions are."""
    branches = [(branch.status, branch.answer, branch.tokens) for branch in out.branches[0]]
    return out.answers[0], out.votes[0], branches


def cases(name: str, small: int) -> dict[str, Any]:
    """Controllers of one kind by case; `small`: bytes of the small cache."""
    controller = CONTROLLERS[name]
    by_order = {order: dataclasses.replace(controller, order=order) for order in (VIRTUAL, ARRIVAL)}
    # A page of each running branch may be open, and the prompt's are not counted as a branch's.
    prune = {PRUNE: fs.MemoryPrune(controller, kv_cache_bytes=small * 9 // 10)} if name in PRUNED else {}
    return {LARGE: controller, **by_order, **prune}


def run(count: int, rounds: int, lock: Path | None) -> dict[str, Any]:
    task = fs.tasks.get("reasoner")
    problems = task.problems(count)
    large = fs.LM.bundled("reasoner")
    samples: dict[str, dict[str, list[Any]]] = {}
    caches: list[int] = []
    loads = []
    for number, problem in enumerate(problems):
        with turn(lock):
            loads.append(load_average())
            peak = generate(large, problem, number, CONTROLLERS["SelfConsistency"]).stats.peak_cache_bytes
            least = (len(problem.prompt) + MAX_NEW_TOKENS + 64) * slot_bytes(large)
            caches.append(max(peak * HELD // WIDTH, least))
            small = fs.LM.bundled("reasoner", kv_cache_bytes=caches[-1])
            for name in CONTROLLERS:
                for case, controller in cases(name, caches[-1]).items():
                    lm = large if case == LARGE else small
                    outs = [generate(lm, problem, number, controller) for _ in range(rounds)]
                    out = outs[0]
                    line = {column: getattr(out.stats, column) for column in COUNTED}
                    line["seconds"] = min(other.stats.seconds for other in outs)
                    line["right"] = out.answers[0] == problem.answer
                    line["early"] = "order=arrival" in out.stats.approximations
                    line["decisions"] = decisions(out)
                    line["pruned"] = sum(branch.status == "pruned" for branch in out.branches[0])
                    samples.setdefault(name, {}).setdefault(case, []).append(line)
        print(f"{number + 1} of {count} problems", file=sys.stderr, flush=True)
    return {
        "command": f"python benchmarks/branches_pressure.py --problems {count} --rounds {rounds}",
        "machine": describe_machine(),
        "load_average": [rounded(value) for value in loads],
        "width": WIDTH,
        "problems": count,
        "small_cache": f"{HELD}/{WIDTH} of what the {WIDTH} branches of SelfConsistency hold at their peak, for each problem",
        "small_cache_bytes": {"least": min(caches), "median": statistics.median(caches), "most": max(caches)},
        "controllers": {name: report(by_case) for name, by_case in samples.items()},
    }


def slot_bytes(lm: fs.LM) -> int:
    """Of one cached token."""
    config = lm.config
    return 4 * config.num_layers * config.num_kv_heads * config.head_dim


def report(by_case: dict[str, list[Any]]) -> dict[str, Any]:
    """Means per problem of each case, and how they compare."""
    lines: dict[str, Any] = {}
    for case, entries in by_case.items():
        means = {c: rounded(statistics.fmean(e[c] for e in entries)) for c in (*COUNTED, "seconds")}
        same = sum(a["decisions"] == b["decisions"] for a, b in zip(entries, by_case[LARGE], strict=True))
        answers = sum(a["decisions"][0] == b["decisions"][0] for a, b in zip(entries, by_case[LARGE], strict=True))
        lines[case] = {
            "accuracy": rounded(statistics.fmean(e["right"] for e in entries)),
            **means,
            "pruned_branches": rounded(statistics.fmean(e["pruned"] for e in entries)),
            "decided_early": sum(e["early"] for e in entries),
            "problems_with_the_decisions_of_the_large_cache": same,
            "problems_with_its_answer": answers,
        }
    for column in ("seconds", "rows", "forwards"):
        totals = {case: sum(e[column] for e in entries) for case, entries in by_case.items()}
        lines[f"virtual / arrival, {column}"] = rounded(totals[VIRTUAL] / totals[ARRIVAL])
        lines[f"virtual / large cache, {column}"] = rounded(totals[VIRTUAL] / totals[LARGE])
    return lines


def show(result: dict[str, Any]) -> None:
    columns = ("accuracy", "seconds", "sequential_tokens", "generated_tokens", "rows", "recomputed_rows", "forwards")
    last = "problems_with_the_decisions_of_the_large_cache"
    print(f"{'':36}" + "".join(f"{column[:12]:>14}" for column in (*columns, "same")))
    for name, lines in result["controllers"].items():
        for case, line in lines.items():
            if isinstance(line, dict):
                print(f"{name + ', ' + case:36}" + "".join(f"{line[column]:>14.5g}" for column in (*columns, last)))
        print({case: line for case, line in lines.items() if not isinstance(line, dict)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2, help="runs of each, of which the faster one counts")
    parser.add_argument("--lock", type=Path, help="a file whose lock is held while something is measured")
    parser.add_argument("--smoke", action="store_true", help="two problems, nothing written")
    options = parser.parse_args()
    result = run(2, 1, options.lock) if options.smoke else run(options.problems, options.rounds, options.lock)
    show(result)
    if not options.smoke:
        write_result(RESULT, result)


if __name__ == "__main__":
    main()
