"""Controllers live on the bundled reasoner, 32 branches wide, and the same controllers on records of its thoughts.

    python benchmarks/branches_reasoner.py [--problems 200] [--lock FILE] [--smoke]
                                                            -> benchmarks/results/branches_reasoner.json

Every controller gets the same held-out problems with the same seeds, one problem at a time. Runs in which all branches
write to their end and are probed on the way are recorded: with the same seeds, where live and replay must decide alike
problem by problem, and with other seeds, where the differences between controllers must have the same sign.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support.machine import describe_machine, load_average
from support.paired import interval, standard_error, verdict
from support.results import rounded, write_result
from support.turns import turn

import foresight as fs
from foresight.recorded import Question, Recording, read

RESULT = Path(__file__).resolve().parent / "results" / "branches_reasoner.json"
MAX_NEW_TOKENS = 800  # the longest prompt and this fit the model's 1,024
OTHER_SEEDS = 1_000_000
# A thought of the reasoner has about 180 tokens, one of the published traces 14,200, probed every 500: by the same
# proportion every 6.3, here 8. So only the interval is scaled; counts of probes stay as published. The group of DeepConf
# is scaled likewise, 2,048 to 26, here 32. Counts of branches are the published ones for 64, halved.
INTERVAL = 8
GROUP = 32
BASELINES = ("ParallelProbe", "SelfConsistency")
CONTROLLERS: dict[str, Any] = {
    "SelfConsistency": fs.SelfConsistency(32),
    "ParallelProbe": fs.ParallelProbe(32, interval=INTERVAL, stable=40, patience=7, warmup=15),
    "ParallelProbe, stable=10": fs.ParallelProbe(32, interval=INTERVAL, stable=10, patience=7, warmup=15),
    "LosslessLead": fs.LosslessLead(32),
    "LikelyLead": fs.LikelyLead(32),
    'LikelyLead(16), "auto"': fs.LikelyLead(),
    "BetaStop": fs.BetaStop(32),
    "BetaStop, 0.95": fs.BetaStop(32, confidence=0.95),
    "ShortestFirst(count=8)": fs.ShortestFirst(32, count=8),
    "Waves((8, 24))": fs.Waves(sizes=(8, 24)),
    "AdaptiveConsistency": fs.AdaptiveConsistency(32),
    "EarlyStoppingConsistency(window=4)": fs.EarlyStoppingConsistency(32, window=4),
    "DeepConf(warmup=8)": fs.DeepConf(32, warmup=8, group=GROUP),
}
COLUMNS = ("accuracy", "sequential_tokens", "total_tokens", "probe_tokens", "forwards", "rows", "seconds")
COMPARED = COLUMNS[:3]


class Recorder(fs.Controller):
    """All branches run to their end and are probed on the way."""

    width = 32
    probe_interval = INTERVAL
    wants = ("confidence",)
    confidence_group = GROUP


def generate(lm: fs.LM, problems: Sequence[Any], seeds: list[int], controller: Any, trace: Path | None = None) -> Any:
    out = lm.generate(
        [problem.prompt for problem in problems],
        branches=controller,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        max_new_tokens=MAX_NEW_TOKENS,
        seed=seeds,
        trace=trace,
        return_dict_in_generate=True,
    )
    if "order=arrival" in out.stats.approximations:
        raise RuntimeError("the branches did not fit into the cache")
    return out


def live(lm: fs.LM, problem: Any, seed: int, controller: Any) -> tuple[list[float], Any]:
    """COLUMNS of one problem, and what was generated."""
    out = generate(lm, [problem], [seed], controller)
    stats = out.stats
    right = float(out.answers[0] == problem.answer)
    total = sum(len(branch.tokens) for branch in out.branches[0])
    sequential = stats.sequential_tokens
    return [right, sequential, total, stats.probe_tokens, stats.forwards, stats.rows, stats.seconds], out


def record(lm: fs.LM, problems: Sequence[Any], seeds: list[int]) -> list[Question]:
    """The problems' branches, all of them to their end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        generate(lm, problems, seeds, Recorder(), path)
        questions = read(path).questions
    for question, problem in zip(questions, problems, strict=True):
        question.gold = problem.answer
    return questions


def replayed(questions: list[Question], controller: Any) -> np.ndarray:
    """COMPARED of every problem, [problems, 3]."""
    (result,) = fs.replay(Recording("recorded thoughts", questions), controller, draws=0)
    return np.array([[getattr(question, column) for column in COMPARED] for question in result.per_question])


def differences(values: np.ndarray, base: np.ndarray) -> dict[str, list[float]]:
    """Mean and 95 % interval of each of COMPARED."""
    return {column: interval(values[:, i] - base[:, i]) for i, column in enumerate(COMPARED)}


def agreement(measured: dict[str, np.ndarray], replays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Differences between controllers, live and on a record of other thoughts."""
    report: dict[str, Any] = {}
    for name in CONTROLLERS:
        for base in BASELINES:
            if name == base:
                continue
            ours = differences(measured[name], measured[base])
            theirs = differences(replays[name], replays[base])
            report.setdefault(f"less {base}", {})[name] = {
                column: {
                    "live": ours[column],
                    "replay": theirs[column],
                    "verdict": verdict(ours[column], theirs[column]),
                }
                for column in COMPARED
            }
    return report


def run(count: int, chunk: int, lock: Path | None, path: Path | None) -> dict[str, Any]:
    lm = fs.LM.bundled("reasoner")
    task = fs.tasks.get("reasoner")
    problems = task.problems(count)
    samples: dict[str, list[list[float]]] = {name: [] for name in CONTROLLERS}
    alone: list[float] = []
    lengths: list[int] = []
    unfinished = 0
    same: list[Question] = []
    other: list[Question] = []
    loads = []
    result: dict[str, Any] = {}
    for begin in range(0, count, chunk):
        some = problems[begin : begin + chunk]
        seeds = list(range(begin, begin + len(some)))
        shift = begin // chunk % len(CONTROLLERS)
        names = [*CONTROLLERS]
        with turn(lock):
            loads.append(load_average())
            for name in [*names[shift:], *names[:shift]]:
                for seed, problem in zip(seeds, some, strict=True):
                    line, out = live(lm, problem, seed, CONTROLLERS[name])
                    samples[name].append(line)
                    if name == "SelfConsistency":
                        alone += [float(branch.answer == problem.answer) for branch in out.branches[0]]
                        lengths += [len(branch.tokens) for branch in out.branches[0]]
                        unfinished += sum(branch.reason == "length" for branch in out.branches[0])
            same += record(lm, some, seeds)
            other += record(lm, some, [seed + OTHER_SEEDS for seed in seeds])
        measured = {name: np.array(lines) for name, lines in samples.items()}
        done = problems[: begin + len(some)]
        result = {
            "command": f"python benchmarks/branches_reasoner.py --problems {len(done)}",
            "machine": describe_machine(),
            "load_average": [rounded(value) for value in loads],
            "problems": len(done),
            "sizes": {str(size): sum(p.size == size for p in done) for size in sorted({p.size for p in done})},
            "width": 32,
            "max_new_tokens": MAX_NEW_TOKENS,
            "probe_interval": INTERVAL,
            "single_branch_accuracy": rounded(float(np.mean(alone))),
            "branch_tokens": {"mean": rounded(float(np.mean(lengths)))}
            | {f"p{q}": rounded(float(np.percentile(lengths, q))) for q in (10, 50, 90, 100)},
            "branches_cut_at_max_new_tokens": unfinished,
            "live": {name: facts(values) for name, values in measured.items()},
            **compared(measured, same, other),
        }
        if path is not None:  # what has been measured so far is worth keeping
            write_result(path, result)
        print(f"{begin + len(some)} of {count} problems", file=sys.stderr, flush=True)
    return result


def compared(measured: dict[str, np.ndarray], same: list[Question], other: list[Question]) -> dict[str, Any]:
    """Live runs beside replays of the same thoughts and of other ones."""
    exact = {name: replayed(same, controller) for name, controller in CONTROLLERS.items()}
    replays = {name: replayed(other, controller) for name, controller in CONTROLLERS.items()}
    unlike = {name: int((~np.isclose(exact[name], measured[name][:, :3])).any(axis=1).sum()) for name in CONTROLLERS}
    return {
        "replay_of_the_same_thoughts": {"problems_that_differ_from_live": unlike},
        "replay_of_other_thoughts": {name: facts(values) for name, values in replays.items()},
        "agreement": agreement(measured, replays),
    }


def facts(values: np.ndarray) -> dict[str, float]:
    """One line of a table: means per problem."""
    columns = COLUMNS[: values.shape[1]]
    line = {column: rounded(float(values[:, i].mean())) for i, column in enumerate(columns)}
    return {"accuracy": line.pop("accuracy"), "standard_error": rounded(standard_error(values[:, 0])), **line}


def show(result: dict[str, Any]) -> None:
    for kind in ("live", "replay_of_other_thoughts"):
        print(f"\n{kind}")
        for name, line in result[kind].items():
            print(f"{name:36}" + "".join(f"{value:>10.4g}" for value in line.values()))
    print("\nproblems whose replay differs", result["replay_of_the_same_thoughts"]["problems_that_differ_from_live"])
    for base, lines in result["agreement"].items():
        print(f"\n{base}")
        for name, columns in lines.items():
            print(f"{name:36}" + "; ".join(f"{c['live']} {c['replay']} {c['verdict']}" for c in columns.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--chunk", type=int, default=40, help="problems after which another controller begins")
    parser.add_argument("--lock", type=Path, help="a file whose lock is held while something is measured")
    parser.add_argument("--smoke", action="store_true", help="four problems, nothing written")
    options = parser.parse_args()
    count, chunk = (4, 2) if options.smoke else (options.problems, options.chunk)
    show(run(count, chunk, options.lock, None if options.smoke else RESULT))


if __name__ == "__main__":
    main()
