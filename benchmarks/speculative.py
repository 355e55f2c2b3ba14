"""Speculative decoding beside plain decoding, transformers' assisted generation and llama.cpp, in interleaved rounds.

    python benchmarks/speculative.py [--rounds 3] [--cache DIR] [--smoke]    -> benchmarks/results/speculative.json

The model has the shape of Qwen3-0.6B and random weights. Synthetic acceptance says what the engine makes of a
drafter that is right so often and costs nothing; the worst drafter proposes random tokens, so that nothing but the
adaptive rule stands between it and a loss. README.md beside this file says what the peers are asked for.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support.checkpoint import QWEN3_06B, TINY, Shape, ensure_checkpoint
from support.engine import Limits, Tokens
from support.machine import StreamRead, describe_machine, load_average
from support.results import Samples, interleave, paired_ratio, rounded, summary, write_result
from support.speculative_peers import (
    COUNTS,
    LOOKUP,
    LOOKUP_COUNT,
    PEERS,
    PLAIN,
    RATES,
    SpeculativePeers,
    installed_peers,
    synthetic_name,
)
from support.turns import turn

import foresight as fs

RESULT = Path(__file__).resolve().parent / "results" / "speculative.json"
PHRASE, REPEATS = 8, 4  # tokens of a prompt


def settings() -> dict[str, fs.Speculative | None]:
    """What is compared, by name."""
    found: dict[str, fs.Speculative | None] = {PLAIN: None}
    for rate in RATES:
        for count in COUNTS:
            found[synthetic_name(rate, count)] = fs.Speculative(fs.SyntheticDrafter(rate), count, adaptive=False)
    found["worst drafter, adaptive"] = fs.Speculative(fs.SyntheticDrafter(), 7)
    found[LOOKUP] = fs.Speculative(fs.PromptLookup(), LOOKUP_COUNT)
    return found


class Bench:
    """One model, its peers, and the calls that are timed."""

    def __init__(self, folder: Path, shape: Shape, options: argparse.Namespace) -> None:
        self.new_tokens = 16 if options.smoke else options.new_tokens
        self.vocab = shape.vocab_size
        self.counted: dict[str, dict[str, list[float]]] = {}
        self._decodings = settings()
        self._lm = fs.LM.from_pretrained(folder, num_threads=options.threads, kv_cache_bytes=1 << 30)
        length = PHRASE * REPEATS + self.new_tokens
        limits = Limits(max(options.batches), length, length)
        self._peers = SpeculativePeers(options.peers, folder, shape, options.threads, limits)
        self.names = [*self._decodings, *self._peers.names]

    def warm_up(self) -> None:
        """Measures the cost curve, and makes every call once, short."""
        self._lm.cost_curve()
        whole, self.new_tokens = self.new_tokens, 8
        for name in self.names:
            self.call(1, name)
        self.new_tokens = whole
        self.counted.clear()

    def cost_curve(self) -> fs.CostCurve:
        """Of our own engine."""
        return self._lm.cost_curve()

    def call(self, batch: int, name: str) -> float | None:
        """Seconds of a greedy call after short prompts, of which the account is kept; None: no such call."""
        prompts = self._prompts(batch)
        if name in self._decodings:
            return self._call_ours(batch, name, prompts)
        found = self._peers.call(name, prompts, self.new_tokens)
        if found is None:
            return None
        seconds, forwards = found
        self._count(batch, name, tokens_per_forward=self.new_tokens / forwards)
        return seconds

    def close(self) -> None:
        """Ends the peers."""
        self._peers.close()

    def _prompts(self, batch: int) -> list[Tokens]:
        """Text that repeats: a phrase several times over."""
        rng = np.random.default_rng(0)
        return [[int(token) for token in rng.integers(0, self.vocab, PHRASE)] * REPEATS for _ in range(batch)]

    def _call_ours(self, batch: int, name: str, prompts: list[Tokens]) -> float:
        begin = time.perf_counter()
        out = self._lm.generate(
            prompts,
            decoding=self._decodings[name],
            do_sample=False,
            max_new_tokens=self.new_tokens,
            eos_token_id=None,
            return_dict_in_generate=True,
        )
        seconds = time.perf_counter() - begin
        stats = out.stats
        self._count(
            batch,
            name,
            tokens_per_forward=stats.tokens_per_forward,
            rows=stats.rows,
            drafted_tokens=stats.drafted_tokens,
            accepted_tokens=stats.accepted_tokens,
            draft_seconds=stats.draft_seconds,
        )
        return seconds

    def _count(self, batch: int, name: str, **counts: float) -> None:
        into = self.counted.setdefault(f"batch {batch}, {name}", {})
        for key, value in counts.items():
            into.setdefault(key, []).append(float(value))


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds, and what follows from them."""
    shape = TINY if options.smoke else QWEN3_06B
    checkpoint = ensure_checkpoint(folder, shape)
    stream = StreamRead(options.threads, 2 * shape.num_parameters)
    reads: list[float] = []
    load: list[float] = []

    def before_round() -> None:
        if not load:
            bench.warm_up()
        load.append(load_average())
        reads.append(stream.measure())

    def timed(batch: int) -> Callable[[str], float | None]:
        return lambda name: bench.call(batch, name)

    bench = Bench(checkpoint, shape, options)
    try:
        samples = interleave(
            options.rounds,
            bench.names,
            [(f"batch {batch}", timed(batch)) for batch in options.batches],
            before_round,
            lambda: turn(options.lock),
        )
    finally:
        bench.close()
    curve = bench.cost_curve()
    return {
        "command": shlex.join(["python", "benchmarks/speculative.py", *_words(options)]),
        "machine": describe_machine(),
        "stream_read_bytes_per_second": summary(reads),
        "load_average": summary(load),
        "threads": options.threads,
        "model": f"{shape.name}, random bfloat16 weights, greedy, {bench.new_tokens} new tokens",
        "cost_curve_milliseconds": {
            str(rows): rounded(1e3 * seconds) for rows, seconds in zip(curve.rows, curve.seconds, strict=True)
        },
        "seconds": {
            batch: {name: summary(values) for name, values in by_name.items()} for batch, by_name in samples.items()
        },
        "tokens_per_second": {
            batch: {
                name: rounded(int(batch.split()[1]) * bench.new_tokens / summary(values)["median"])
                for name, values in by_name.items()
            }
            for batch, by_name in samples.items()
        },
        "times_as_fast_as_own_plain": own_plain_ratios(samples),
        "times_as_fast_as_the_peer": peer_ratios(samples),
        "counted": {
            call: {key: rounded(float(np.mean(values))) for key, values in counts.items()}
            for call, counts in bench.counted.items()
        },
    }


def own_plain_ratios(samples: Samples) -> dict[str, dict[str, float]]:
    """Of every setting: the time of the same engine's plain decoding over its own."""

    def plain_of(name: str) -> str:
        peer = name.split(", ")[0]
        return f"{peer}, {PLAIN}" if peer in PEERS else PLAIN

    return {
        batch: {
            name: paired_ratio(by_name[plain_of(name)], values)
            for name, values in by_name.items()
            if name != plain_of(name)
        }
        for batch, by_name in samples.items()
    }


def peer_ratios(samples: Samples) -> dict[str, dict[str, float]]:
    """Time of a peer's setting over that of Foresight's of the same name."""
    return {
        batch: {
            name: paired_ratio(values, by_name[name.split(", ", 1)[1]])
            for name, values in by_name.items()
            if name.split(", ")[0] in PEERS
        }
        for batch, by_name in samples.items()
    }


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--new-tokens", type=int, default=96)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="default: those that are installed")
    parser.add_argument("--cache", type=Path, help="folder that keeps the random checkpoint (1.2 GB)")
    parser.add_argument("--lock", type=Path, help="file to lock (as flock does) during each round")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, to see that it works")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/speculative.json, nothing with --smoke")
    options = parser.parse_args()
    if options.peers is None:
        options.peers = installed_peers()
    for name in options.peers:
        if name not in installed_peers():
            parser.error(f"the peer {name} is not installed")
    return options


def _words(options: argparse.Namespace) -> list[str]:
    """The arguments that decide the figures; not where files are."""
    words = ["--rounds", options.rounds, "--threads", options.threads, "--new-tokens", options.new_tokens]
    words += ["--batches", *options.batches, "--peers", *options.peers]
    return [str(word) for word in words]


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        result = run(options, options.cache or Path(scratch))
    out = options.out or (None if options.smoke else RESULT)
    if out is not None:
        write_result(out, result)
    for batch, ratios in result["times_as_fast_as_own_plain"].items():
        for name, ratio in ratios.items():
            print(f"{batch:9} {name:42} {ratio:.3g} times as fast as plain")
    for batch, ratios in result["times_as_fast_as_the_peer"].items():
        for name, ratio in ratios.items():
            print(f"{batch:9} {name:42} Foresight is {ratio:.3g} times as fast")


if __name__ == "__main__":
    main()
