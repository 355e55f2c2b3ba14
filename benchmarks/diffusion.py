"""Diffusion decoding beside the published samplers in plain PyTorch: the full canvas, blocks, the dual cache.

    python benchmarks/diffusion.py    -> benchmarks/results/diffusion.json

README.md beside this file says how to read the result.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.checkpoint import QWEN3_06B, TINY, Shape, ensure_checkpoint
from support.diffusion_settings import MASK, Report, Setting, settings
from support.engine import Limits, random_tokens
from support.machine import StreamRead, describe_machine, load_average
from support.results import Samples, interleave, paired_ratio, rounded, summary, write_result
from support.worker import EngineProcess

from foresight._core import default_isa

RESULT = Path(__file__).resolve().parent / "results" / "diffusion.json"
OURS = "foresight"


@dataclass(frozen=True)
class Plan:
    """How much work a run does. dtype: of both sides."""

    shape: Shape
    prompt: int
    new: int
    dtype: str
    settings: list[Setting]


# One block of 128 in 32 steps, so that it ends in minutes; blocks of 4 in 4 steps are SDAR's, blocks of 32 and as many
# steps as tokens Fast-dLLM's.
FULL = Plan(QWEN3_06B, 128, 128, "bfloat16", settings(128, 32, 4, 128, 32))
# In float32 both sides write the same tokens wherever the setting is exact.
SMOKE = Plan(TINY, 14, 16, "float32", settings(16, 5, 4, 16, 8))


class Runner:
    """Two processes and what they have reported."""

    def __init__(self, plan: Plan, folder: Path, threads: int) -> None:
        self._plan = plan
        limits = Limits(1, plan.prompt + plan.new, plan.prompt + plan.new)
        self._ours = EngineProcess("foresight sampler", folder, threads, limits)
        self._reference = EngineProcess("reference sampler", folder, threads, limits)
        self._mask = min(MASK, plan.shape.vocab_size - 1)
        self._prompt = random_tokens(0, plan.prompt, self._mask)
        self.reports: dict[str, dict[str, list[Report]]] = {}

    @property
    def engines(self) -> list[str]:
        """Foresight and every reference of a setting."""
        names = [reference for setting in self._plan.settings for reference in setting.references]
        return [OURS, *dict.fromkeys(names)]

    def warm_up(self) -> None:
        """Every model is read once: the settings with the fewest steps that they allow."""
        for setting in settings(self._plan.new, 1, 4, 1, self._plan.new):
            for engine in [OURS, *setting.references]:
                if setting.attention == "full" or engine == OURS:
                    self._sample(setting, engine)

    def measure(self, rounds: int, load: list[float], stream: StreamRead, reads: list[float]) -> Samples:
        """Samples of the rounds."""

        def before_round() -> None:
            load.append(load_average())
            reads.append(stream.measure())

        def measurement(setting: Setting) -> Any:
            def run(engine: str) -> float | None:
                if engine != OURS and engine not in setting.references:
                    return None
                report = self._sample(setting, engine)
                self.reports.setdefault(setting.name, {}).setdefault(engine, []).append(report)
                return report["seconds"]

            return setting.name, run

        return interleave(rounds, self.engines, [measurement(one) for one in self._plan.settings], before_round)

    def close(self) -> None:
        """Ends the processes."""
        self._ours.close()
        self._reference.close()

    def _sample(self, setting: Setting, engine: str) -> Report:
        arguments = (setting, self._prompt, self._mask, self._plan.dtype)
        if engine == OURS:
            return self._ours.measure("sample", *arguments)
        return self._reference.measure("sample", *arguments, engine)


def describe(setting: Setting, samples: Samples, reports: dict[str, list[Report]]) -> dict[str, Any]:
    """One setting: what each side did, and how many times as fast Foresight was."""
    times = samples[setting.name]
    ours = reports[OURS][0]["new_tokens"]
    sides: dict[str, Any] = {}
    for engine, found in reports.items():
        first = found[0]
        side: dict[str, Any] = {"seconds": summary(times[engine]), "forwards": first["forwards"], "rows": first["rows"]}
        if engine != OURS:
            model = [report["model_seconds"] or 0.0 for report in found]
            side["seconds_in_forwards"] = summary(model)
            side["times_as_fast_as"] = paired_ratio(times[engine], times[OURS])
            side["times_as_fast_as_its_forwards_alone"] = paired_ratio(model, times[OURS])
            side["rows_ratio"] = rounded(first["rows"] / reports[OURS][0]["rows"])
            same = sum(a == b for a, b in zip(ours, first["new_tokens"], strict=True))
            side["share_of_equal_tokens"] = rounded(same / len(ours))
        sides[engine] = side
    expectations = [
        {"against": name, "at_least": bound, "ratio": sides[name]["times_as_fast_as"]}
        for name, bound in setting.expected.items()
    ]
    return {
        "attention": setting.attention,
        "block_length": setting.block_length,
        "steps": setting.steps,
        "decoding": setting.decoding,
        "exact": setting.exact,
        "sides": sides,
        "expectations": [entry | {"met": entry["ratio"] >= entry["at_least"]} for entry in expectations],
    }


def print_table(results: dict[str, Any]) -> None:
    """Medians and ratios."""
    for name, entry in results.items():
        print(name)
        for engine, side in entry["sides"].items():
            ratio = f", Foresight {side['times_as_fast_as']:.3g} times as fast" if engine != OURS else ""
            seconds = side["seconds"]["median"]
            print(f"  {engine:32}{seconds:9.4g} s  {side['forwards']:4} forwards  {side['rows']:6} rows{ratio}")
        for one in entry["expectations"]:
            print(f"  {'met' if one['met'] else 'missed'}: at least {one['at_least']} times the {one['against']}")


def check_equal(results: dict[str, Any]) -> None:
    """In float32 an exact setting writes what the published sampler writes."""
    for name, entry in results.items():
        for engine, side in entry["sides"].items():
            if entry["exact"] and engine != OURS and side["share_of_equal_tokens"] != 1:
                raise SystemExit(f"{name}: the tokens are not those of the {engine}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="interleaved rounds (default 2)")
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides (default 2)")
    parser.add_argument("--cache", type=Path, help="keeps the random checkpoint there (default: a deleted folder)")
    parser.add_argument("--only", help="settings whose names hold this; nothing is written")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape in seconds; nothing is written")
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    plan = SMOKE if options.smoke else FULL
    if options.only:
        plan = Plan(**{**vars(plan), "settings": [one for one in plan.settings if options.only in one.name]})
    load: list[float] = []
    reads: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = ensure_checkpoint(options.cache or Path(temporary), plan.shape)
        runner = Runner(plan, folder, options.threads)
        try:
            runner.warm_up()
            stream = StreamRead(options.threads, 2 * plan.shape.num_parameters)
            samples = runner.measure(options.rounds, load, stream, reads)
        finally:
            runner.close()
    load.append(load_average())
    results = {one.name: describe(one, samples, runner.reports[one.name]) for one in plan.settings}
    print_table(results)
    if options.smoke:
        check_equal(results)
    if options.smoke or options.only:
        return
    write_result(
        RESULT,
        {
            # Not where files are.
            "command": f"python benchmarks/diffusion.py --rounds {options.rounds} --threads {options.threads}",
            "machine": describe_machine(),
            "shape": {**vars(plan.shape), "num_parameters": plan.shape.num_parameters, "dtype": plan.dtype},
            "prompt_tokens": plan.prompt,
            "new_tokens": plan.new,
            "threads": options.threads,
            "instruction_set": default_isa(),
            "stream_read_bytes_per_second": summary(reads),
            "load_average_before_rounds_and_at_the_end": [rounded(value) for value in load],
            "settings": results,
        },
    )


if __name__ == "__main__":
    main()
