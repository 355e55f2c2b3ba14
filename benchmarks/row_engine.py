"""The row engine beside transformers and llama.cpp: prefill, decode, rows after a context, load, memory.

    python benchmarks/row_engine.py --out benchmarks/results/row_engine.json

README.md beside this file says how to read the result.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.checkpoint import QWEN3_06B, TINY, Shape, ensure_checkpoint
from support.engine import Limits, random_tokens
from support.machine import StreamRead, describe_machine, load_average
from support.results import Samples, interleave, rounded, summary, write_result
from support.row_engine_report import OURS, expectations_of, figures_of, print_table, ratios_of
from support.worker import ENGINES, EngineProcess, is_installed

from foresight._core import default_isa

ROWS = (1, 8, 64)
WARM_UP = ("prefill", "decode_8", "hold", "rows_64")


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


FULL = Plan(QWEN3_06B, 512, 8192, {1: 24, 8: 16, 32: 14, 64: 14}, 2, 12)
SMOKE = Plan(TINY, 32, 128, {1: 16, 8: 16, 32: 16, 64: 16}, 2, 4)


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
        """The processes of everything else, warm: one unmeasured run of some of the measurements."""
        plan = self._plan
        for name in self._engines:
            self._processes[name] = EngineProcess(name, self._folder, self._threads, plan.limits)
        limits = Limits(1, 1, plan.long_context + plan.new_after_context)
        self._long = EngineProcess(OURS, self._folder, self._threads, limits)
        self._long.measure("hold", self._tokens(2, plan.long_context))
        interleave(1, self._engines, [entry for entry in self._measurements() if entry[0] in WARM_UP])

    def measure(self, rounds: int, before_round: Callable[[], None]) -> Samples:
        """Samples of the rounds."""
        return interleave(rounds, self._engines, self._measurements(), before_round)

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


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    parser.add_argument("--load-rounds", type=int, default=2, help="rounds of loading (default 2)")
    peers = [name for name in ENGINES if name != OURS]
    parser.add_argument("--peers", nargs="*", choices=peers, help="default: those that are installed")
    parser.add_argument("--threads", type=int, default=2, help="threads of every engine (default 2)")
    parser.add_argument(
        "--cache", type=Path, help="keeps the random checkpoint there (default: a folder that is deleted)"
    )
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
    stream_read, load = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = ensure_checkpoint(arguments.cache or Path(temporary), plan.shape)
        if "llama.cpp" in engines:
            from support.gguf_file import ensure_gguf

            ensure_gguf(folder, plan.shape)
        stream = StreamRead(arguments.threads, 2 * plan.shape.num_parameters)

        def before_round() -> None:
            load.append(load_average())
            stream_read.append(stream.measure())

        runner = Runner(plan, folder, arguments.threads, engines)
        try:
            samples = runner.load(arguments.load_rounds)
            runner.start()
            samples |= runner.measure(arguments.rounds, before_round)
        finally:
            runner.close()
    machine = describe_machine()
    result = {
        "command": "python benchmarks/row_engine.py " + _words(arguments),
        "machine": machine,
        "shape": {**vars(plan.shape), "num_parameters": plan.shape.num_parameters, "dtype": "bfloat16"},
        "plan": {key: value for key, value in vars(plan).items() if key != "shape"},
        "engines": engines,
        "instruction_set": default_isa(),
        "stream_read_bytes_per_second": summary(stream_read),
        "load_average": summary(load),
        "figures": figures_of(samples, plan.context),
        "memory": {engine: runner.memory(engine) for engine in engines},
        "times_as_fast_as": ratios_of(samples),
        "expectations": expectations_of(samples, "amx_bf16" in machine["cpu_flags"]),
    }
    print_table(result)
    if arguments.out:
        write_result(arguments.out, result)


def _words(arguments: argparse.Namespace) -> str:
    """The arguments that decide the figures; not where files are."""
    words = ["--rounds", arguments.rounds, "--load-rounds", arguments.load_rounds, "--threads", arguments.threads]
    words += ["--peers", *arguments.peers] + (["--smoke"] if arguments.smoke else [])
    return " ".join(str(word) for word in words)


if __name__ == "__main__":
    main()
