"""Token against block verification: how many guesses of a round are accepted, by enumeration and through the engine.

    python benchmarks/verification.py [--problems 96] [--repeats 8] [--smoke]    -> benchmarks/results/verification.json

Enumeration: the 24 pairs of tables of tests/cpp/sample/verify_block_test.cc, which enumerates the outcomes of the
engine's own functions; here by the closed forms of arXiv 2211.17192 and 2403.10444. Engine: the bundled reasoner with
drafters of different quality, sampled; every repeat has seeds of its own and gives one mean, the same for both rules.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from support.machine import describe_machine
from support.results import rounded, write_result
from support.turns import turn

import foresight as fs

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "verification.json"
RULES = ("token", "block")
COUNTS = (4, 7)
NUM_TABLES = 24

Prefix = tuple[int, ...]
Table = Callable[[Prefix], list[float]]


def _philox() -> Any:
    """The plain Python twin of the engine's random numbers, which the tests have."""
    path = ROOT / "tests" / "support" / "philox.py"
    spec = importlib.util.spec_from_file_location("philox", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_table(philox: Any, seed: int, vocab: int, holes: bool) -> Table:
    """A distribution that depends on the whole prefix, as the C++ test makes it."""

    def table(prefix: Prefix) -> list[float]:
        key = seed
        for token in prefix:
            key = philox.mix64(key, token + 1)
        weights = []
        for v in range(vocab):
            hole = holes and v != key % vocab and philox.uniform(key, 0, v, 1) < 0.4
            weights.append(0.0 if hole else math.exp(4.0 * philox.uniform(key, 0, v, 0)))
        return [weight / sum(weights) for weight in weights]

    return table


def accepted_by(p: Table, q: Table, vocab: int, num_drafts: int) -> dict[str, float]:
    """Expected number of accepted guesses of a round: the sum over i of the probability that the first i stay.

    By token each guess stays with min(1, p / q). By block the first i stay with w_i = min(1, w_(i-1) p / q), w_0 = 1.
    """

    def longer(prefix: Prefix, drafted: float, token: float, block: float) -> Iterator[tuple[float, float]]:
        if len(prefix) == num_drafts:
            return
        for v, (target, draft) in enumerate(zip(p(prefix), q(prefix), strict=True)):
            if draft == 0.0:
                continue
            ratio = target / draft
            here = (drafted * draft, token * min(1.0, ratio), min(1.0, block * ratio))
            yield here[0] * here[1], here[0] * here[2]
            yield from longer((*prefix, v), *here)

    by_token, by_block = zip(*longer((), 1.0, 1.0, 1.0), strict=True)
    return {"token": math.fsum(by_token), "block": math.fsum(by_block)}


def enumerate_tables() -> dict[str, Any]:
    """The mean over the test's pairs of tables."""
    philox = _philox()
    found: dict[str, list[float]] = {rule: [] for rule in RULES}
    for seed in range(NUM_TABLES):
        vocab = 3 + seed % 3
        num_drafts = 1 + seed % (3 if vocab == 5 else 4)
        p = random_table(philox, 2 * seed + 1, vocab, seed % 4 == 1)
        q = random_table(philox, 2 * seed + 2, vocab, seed % 4 == 2)
        for rule, value in accepted_by(p, q, vocab, num_drafts).items():
            found[rule].append(value)
    means = {rule: float(np.mean(values)) for rule, values in found.items()}
    return {
        "tables": NUM_TABLES,
        "mean_accepted_guesses": {rule: rounded(mean) for rule, mean in means.items()},
        "block_over_token": rounded(means["block"] / means["token"]),
    }


def pairs() -> dict[str, tuple[Any, float]]:
    """Drafter and temperature of both models, by name."""
    draft = fs.LM.bundled("reasoner-draft")
    found: dict[str, tuple[Any, float]] = {
        f"reasoner-draft, temperature {temperature}": (draft, temperature) for temperature in (1.5, 2.0, 3.0)
    }
    for layer, temperature in ((3, 2.0), (4, 1.0)):
        found[f"first {layer} of 6 layers, temperature {temperature}"] = (fs.EarlyExit(layer), temperature)
    return found


def measure_pair(
    lm: fs.LM, prompts: list[list[int]], drafter: Any, temperature: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Accepted guesses of a round by rule, with the standard error of the mean over repeats."""
    result: dict[str, Any] = {}
    for count in COUNTS:
        means: dict[str, list[float]] = {rule: [] for rule in RULES}
        rounds = dict.fromkeys(RULES, 0)
        for seed in range(options.repeats):
            for rule in RULES:
                stats = lm.acceptance(
                    prompts,
                    drafter,
                    num_draft_tokens=count,
                    verification=rule,
                    do_sample=True,
                    temperature=temperature,
                    top_k=0,
                    max_new_tokens=options.new_tokens,
                    seed=seed,
                ).stats
                means[rule].append(stats.accepted_tokens / stats.drafted_at[0])
                rounds[rule] += stats.drafted_at[0]
        result[f"{count} guesses"] = {
            **{
                rule: {"accepted": rounded(np.mean(values)), "standard_error": rounded(_error(values))}
                for rule, values in means.items()
            },
            "rounds": rounds,
            "block_over_token": rounded(np.mean(means["block"]) / np.mean(means["token"])),
            "difference": rounded(np.mean(np.subtract(means["block"], means["token"]))),
            "standard_error_of_difference": rounded(_error(np.subtract(means["block"], means["token"]))),
        }
    return result


def _error(values: Any) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--lock", type=Path, help="file to lock (as flock does) for each pair")
    parser.add_argument("--smoke", action="store_true", help="few problems, nothing written")
    options = parser.parse_args()
    if options.smoke:
        options.problems, options.repeats = 4, 2
    words = [f"--problems={options.problems}", f"--repeats={options.repeats}", f"--new-tokens={options.new_tokens}"]
    result: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/verification.py", *words]),
        "machine": describe_machine(),
        "enumeration": enumerate_tables(),
        "engine": {},
    }
    print("enumeration", result["enumeration"])
    lm = fs.LM.bundled("reasoner")
    prompts = [problem.prompt for problem in fs.tasks.get("reasoner").problems(options.problems)]
    for name, (drafter, temperature) in pairs().items():
        with turn(options.lock):
            result["engine"][name] = measure_pair(lm, prompts, drafter, temperature, options)
        for count, found in result["engine"][name].items():
            print(f"{name}, {count}: token {found['token']}, block {found['block']}", file=sys.stderr, flush=True)
    if not options.smoke:
        write_result(RESULT, result)


if __name__ == "__main__":
    main()
