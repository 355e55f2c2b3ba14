"""The row engine beside transformers and llama.cpp: prefill, decode, rows after a context, load, memory.

    python benchmarks/row_engine.py --out benchmarks/results/row_engine.json

README.md beside this file says how to read the result.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.checkpoint import QWEN3_06B, TINY, Shape, ensure_checkpoint
from support.engine import Limits, random_tokens
from support.machine import StreamRead, describe_machine, load_average
from support.results import Samples, interleave, paired_ratio, rounded, summary, write_result
from support.worker import ENGINES, EngineProcess, is_installed

OURS = "foresight"
ROWS = (1, 8, 64)


@dataclass(frozen=True)
class Plan:
    """How much work a run does."""

    shape: Shape
    context: int  # tokens cached before `rows` and before decoding at a short context; also the prefill
    long_context: int
    batches: dict[int, int]  # batch -> new tokens of each sequence
    prompt: int  # tokens of a prompt in a batch
    new_after_context: int

    @property
    def limits(self) -> Limits:
        """Room for all of it."""
        per_sequence = self.prompt + max(self.batches.values())
        return Limits(max(self.batches), per_sequence, self.context + max(*ROWS, self.new_after_context) + 1)


FULL = Plan(QWEN3_06B, 512, 8192, {1: 24, 8: 16, 32: 12, 64: 10}, 16, 12)
SMOKE = Plan(TINY, 32, 128, {1: 6, 8: 6, 32: 6, 64: 6}, 4, 4)


class Runner:
    """The processes of one run and what is measured on them."""

    def __init__(self, plan: Plan, folder: Path, threads: int, engines: list[str]) -> None:
        self._plan = plan
        self._folder = folder
        self._threads = threads
        self._engines = engines
        self._memory: dict[str, list[dict[str, int]]] = {name: [] for name in engines}
        self._processes: dict[str, EngineProcess] = {}
        self._long: EngineProcess | None = None

    def load(self, rounds: int) -> Samples:
        """Load time in fresh processes, and their memory after a prefill and a few tokens."""
        short = self._tokens(1, self._plan.context)

        def load(name: str) -> float:
            process = EngineProcess(name, self._folder, self._threads, self._plan.limits)
            # Weights that are mapped are read by the first forward: it is part of loading.
            seconds = process.load_seconds + process.measure("prefill", short[:1])
            process.measure("prefill", short)
            process.measure("decode", [short[: self._plan.prompt]], 4)
            self._memory[name].append(process.memory())
            process.close()
            return seconds

        return interleave(rounds, self._engines, [("load", load)])

    def start(self) -> None:
        """The processes of everything else, their contexts, and one unmeasured run of each measurement."""
        plan = self._plan
        for name in self._engines:
            self._processes[name] = EngineProcess(name, self._folder, self._threads, plan.limits)
        limits = Limits(1, 1, plan.long_context + plan.new_after_context)
        self._long = EngineProcess(OURS, self._folder, self._threads, limits)
        self._long.measure("hold", self._tokens(2, plan.long_context))
        interleave(1, self._engines, self._measurements())

    def measure(self, rounds: int, stream: StreamRead) -> tuple[Samples, list[float], list[float]]:
        """Samples of the rounds, and the stream read and the machine's load before each of them."""
        samples: Samples = {}
        stream_read, load = [], []
        for number in range(rounds):
            stream_read.append(stream.measure())
            load.append(load_average())
            order = self._engines[number % len(self._engines) :] + self._engines[: number % len(self._engines)]
            for name, values in interleave(1, order, self._measurements()).items():
                for engine, seconds in values.items():
                    samples.setdefault(name, {}).setdefault(engine, []).extend(seconds)
        return samples, stream_read, load

    def memory(self, name: str) -> dict[str, float]:
        """The greatest figures of the load rounds."""
        readings = self._memory[name]
        return {key: rounded(max(reading[key] for reading in readings)) for key in readings[0]}

    def close(self) -> None:
        """Ends the processes."""
        for process in [*self._processes.values(), *([self._long] if self._long else [])]:
            process.close()

    def _measurements(self) -> list[tuple[str, Any]]:
        plan = self._plan
        context = self._tokens(1, plan.context)
        found: list[tuple[str, Any]] = [("prefill", lambda name: self._on(name, "prefill", context))]

        def decode(batch: int, num_new: int) -> Any:
            prompts = [self._tokens(100 + i, plan.prompt) for i in range(batch)]
            return lambda name: self._on(name, "decode", prompts, num_new)

        found += [(f"decode_{batch}", decode(batch, num_new)) for batch, num_new in plan.batches.items()]
        found += [("hold", lambda name: self._on(name, "hold", context))]
        for count in ROWS:
            tokens = self._tokens(200, count)
            found += [(f"rows_{count}", lambda name, tokens=tokens: self._on(name, "rows", tokens))]
        found += [("decode_after_context", lambda name: self._on(name, "decode_held", plan.new_after_context))]
        found += [("decode_after_long_context", self._decode_long)]
        return found

    def _decode_long(self, name: str) -> float | None:
        if name != OURS or self._long is None:
            return None
        return float(self._long.measure("decode_held", self._plan.new_after_context))

    def _on(self, name: str, method: str, *arguments: Any) -> float | None:
        return self._processes[name].measure(method, *arguments)

    def _tokens(self, seed: int, count: int) -> list[int]:
        return random_tokens(seed, count, self._plan.shape.vocab_size)


def expectations(samples: Samples, amx: bool) -> list[dict[str, Any]]:
    """What the engine is expected to reach, as ratios within rounds, and whether this run reached it."""
    found: list[dict[str, Any]] = []

    def expect(text: str, value: float | None, bound: float, at_most: bool = False, waived: bool = False) -> None:
        if value is None:
            return
        entry = {"expectation": text, "ratio": value, "met": value <= bound if at_most else value >= bound}
        found.append(entry | {"waived": True} if waived and not entry["met"] else entry)

    def times(name: str, engine: str = OURS) -> list[float] | None:
        return samples.get(name, {}).get(engine)

    def ahead(name: str, peer: str) -> float | None:
        mine, theirs = times(name), times(name, peer)
        return paired_ratio(theirs, mine) if mine and theirs else None

    def own(name: str, other: str) -> float | None:
        first, second = times(name), times(other)
        return paired_ratio(first, second) if first and second else None

    def own_rate(batch: int) -> float | None:
        ratio = own("decode_1", f"decode_{batch}")
        return None if ratio is None else rounded(ratio * batch)

    expect("decode at batch 1: at least 2x transformers", ahead("decode_1", "transformers"), 2.0)
    expect("decode at batch 1: not below llama.cpp", ahead("decode_1", "llama.cpp"), 1.0)
    expect("8 rows after a context: at most 1.4x the time of 1 row", own("rows_8", "rows_1"), 1.4, at_most=True)
    expect("prefill: not below transformers", ahead("prefill", "transformers"), 1.0, waived=amx)
    expect("decode at batch 32: at least 8x the tokens per second of batch 1", own_rate(32), 8.0)
    expect("decode at batch 32: not below transformers", ahead("decode_32", "transformers"), 1.0, waived=amx)
    text = "a token after the long context: at most 2x the time after the short one"
    expect(text, own("decode_after_long_context", "decode_after_context"), 2.0, at_most=True)
    return found


def collect(
    plan: Plan, runner: Runner, engines: list[str], samples: Samples, threads: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """The figures, by measurement and engine: milliseconds, tokens per second, seconds, bytes."""
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for name, values in samples.items():
        if name == "hold":
            continue
        for engine, seconds in values.items():
            if name == "load":
                entry: dict[str, Any] = {"seconds": summary(seconds)}
            elif name == "prefill":
                entry = {"tokens_per_second": summary([plan.context / value for value in seconds])}
            else:
                entry = {"milliseconds": summary([1000 * value for value in seconds])}
                if name.removeprefix("decode_").isdigit():
                    batch = int(name.removeprefix("decode_"))
                    entry["tokens_per_second"] = summary([batch / value for value in seconds])
            figures.setdefault(name, {})[engine] = entry
    figures["memory"] = {engine: runner.memory(engine) for engine in engines}
    return figures


def ratios(samples: Samples) -> dict[str, dict[str, float]]:
    """How many times as fast as each peer: the median over rounds of the ratio within a round."""
    found: dict[str, dict[str, float]] = {}
    for name, values in samples.items():
        for peer in values:
            if name != "hold" and peer != OURS and OURS in values:
                found.setdefault(name, {})[peer] = paired_ratio(values[peer], values[OURS])
    return found


def print_table(result: dict[str, Any]) -> None:
    """The medians, one line per measurement."""
    engines = result["engines"]
    print(f"{'':34}" + "".join(f"{engine:>16}" for engine in engines))
    for name, values in result["figures"].items():
        units = sorted({unit for entry in values.values() for unit in entry})
        for unit in units:
            cells = [values.get(engine, {}).get(unit) for engine in engines]
            shown = ["-" if c is None else f"{c['median'] if isinstance(c, dict) else c:.4g}" for c in cells]
            print(f"{name + ', ' + unit.replace('_', ' '):34}" + "".join(f"{cell:>16}" for cell in shown))
    for entry in result["expectations"]:
        verdict = "met" if entry["met"] else "missed, waived" if entry.get("waived") else "missed"
        print(f"{entry['ratio']:8.2f}  {verdict:8}  {entry['expectation']}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    parser.add_argument("--load-rounds", type=int, default=2, help="rounds of loading (default 2)")
    peers = [name for name in ENGINES if name != OURS]
    parser.add_argument("--peers", nargs="*", choices=peers, help="default: those that are installed")
    parser.add_argument("--threads", type=int, default=2, help="threads of every engine (default 2)")
    parser.add_argument("--cache", type=Path, help="keeps the random checkpoint there (default: a folder that is deleted)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape: does it run, in seconds")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.load_rounds < 1 or arguments.threads < 1:
        parser.error("--rounds, --load-rounds and --threads must be at least 1")
    if arguments.peers is None:
        arguments.peers = [name for name in peers if is_installed(name)]
    for name in arguments.peers:
        if not is_installed(name):
            parser.error(f"the peer {name} is not installed")
    return arguments


def main() -> None:
    """Runs everything and prints the table."""
    arguments = parse_arguments()
    plan = SMOKE if arguments.smoke else FULL
    engines = [OURS, *arguments.peers]
    with tempfile.TemporaryDirectory() as temporary:
        folder = ensure_checkpoint(arguments.cache or Path(temporary), plan.shape)
        if "llama.cpp" in engines:
            from support.gguf_file import ensure_gguf

            ensure_gguf(folder, plan.shape)
        stream = StreamRead(arguments.threads, 2 * plan.shape.num_parameters)
        runner = Runner(plan, folder, arguments.threads, engines)
        try:
            load_samples = runner.load(arguments.load_rounds)
            runner.start()
            samples, stream_read, load = runner.measure(arguments.rounds, stream)
        finally:
            runner.close()
    machine = describe_machine()
    samples |= load_samples
    result = {
        "command": "python benchmarks/row_engine.py " + _words(arguments, plan),
        "machine": machine,
        "shape": {**vars(plan.shape), "num_parameters": plan.shape.num_parameters, "dtype": "bfloat16"},
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "plan": {key: value for key, value in vars(plan).items() if key != "shape"},
        "engines": engines,
        "stream_read_bytes_per_second": summary(stream_read),
        "load_average": summary(load),
        "figures": collect(plan, runner, engines, samples, arguments.threads),
        "times_as_fast_as": ratios(samples),
        "expectations": expectations(samples, "amx_bf16" in machine["cpu_flags"]),
    }
    print_table(result)
    if arguments.out:
        write_result(arguments.out, result)


def _words(arguments: argparse.Namespace, plan: Plan) -> str:
    """The arguments that decide the figures; not where files are."""
    words = ["--rounds", arguments.rounds, "--load-rounds", arguments.load_rounds, "--threads", arguments.threads]
    words += ["--peers", *arguments.peers] if arguments.peers else ["--peers"]
    return " ".join(str(word) for word in words + (["--smoke"] if plan is SMOKE else []))


if __name__ == "__main__":
    main()
