"""Speculative decoding against plain decoding of the same engine, in interleaved rounds.

    python benchmarks/speculative.py [--rounds 3] [--cache DIR] [--smoke]    -> benchmarks/results/speculative.json

The model has the shape of Qwen3-0.6B and random weights. Synthetic acceptance says what the engine makes of a
drafter that is right so often and costs nothing; the worst drafter proposes random tokens, so that nothing but the
adaptive rule stands between it and a loss.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support.checkpoint import QWEN3_06B, TINY, Shape, ensure_checkpoint
from support.machine import StreamRead, describe_machine, load_average
from support.results import interleave, paired_ratio, rounded, summary, write_result

import foresight as fs

RESULT = Path(__file__).resolve().parent / "results" / "speculative.json"
PLAIN = "plain"


def settings() -> dict[str, fs.Speculative | None]:
    """What is compared, by name."""
    found: dict[str, fs.Speculative | None] = {PLAIN: None}
    for rate in (0.6, 0.8, 0.9):
        for count in (4, 7):
            drafter = fs.SyntheticDrafter(rate)
            found[f"acceptance {rate}, {count} guesses"] = fs.Speculative(drafter, count, adaptive=False)
    found["worst drafter, adaptive"] = fs.Speculative(fs.SyntheticDrafter(), 7)
    found["prompt lookup, adaptive"] = fs.Speculative(fs.PromptLookup(), 7)
    return found


class Bench:
    """One model, and the calls that are timed."""

    def __init__(self, folder: Path, shape: Shape, threads: int, new_tokens: int) -> None:
        self.lm = fs.LM.from_pretrained(folder, num_threads=threads, kv_cache_bytes=1 << 30)
        self.vocab = shape.vocab_size
        self.new_tokens = new_tokens
        self.facts: dict[str, dict[str, Any]] = {}
        self.lm.cost_curve()

    def call(self, batch: int, name: str, decoding: fs.Speculative | None) -> float:
        """Seconds of a greedy call after short prompts; the account is kept."""
        rng = np.random.default_rng(0)
        # Text that repeats: a phrase several times over.
        prompts = [[int(token) for token in rng.integers(0, self.vocab, 8)] * 4 for _ in range(batch)]
        start = time.perf_counter()
        out = self.lm.generate(
            prompts,
            decoding=decoding,
            do_sample=False,
            max_new_tokens=self.new_tokens,
            eos_token_id=None,
            return_dict_in_generate=True,
        )
        seconds = time.perf_counter() - start
        stats = out.stats
        self.facts[f"batch {batch}, {name}"] = {
            "forwards": stats.forwards,
            "tokens_per_forward": rounded(stats.tokens_per_forward),
            "drafted_tokens": stats.drafted_tokens,
            "accepted_tokens": stats.accepted_tokens,
            "rows": stats.rows,
            "draft_seconds": rounded(stats.draft_seconds),
        }
        return seconds


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds, and what follows from them."""
    shape = TINY if options.smoke else QWEN3_06B
    bench = Bench(ensure_checkpoint(folder, shape), shape, options.threads, 16 if options.smoke else options.new_tokens)
    decodings = settings()
    stream = StreamRead(options.threads, 2 * shape.num_parameters)
    reads: list[float] = []

    def timed(batch: int) -> Callable[[str], float]:
        return lambda name: bench.call(batch, name, decodings[name])

    for batch in options.batches:
        timed(batch)(PLAIN)  # warm
    samples = interleave(
        options.rounds,
        list(decodings),
        [(f"batch {batch}", timed(batch)) for batch in options.batches],
        before_round=lambda: reads.append(stream.measure()),
    )
    curve = bench.lm.cost_curve()
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe_machine(),
        "stream_read_bytes_per_second": summary(reads),
        "load_average": load_average(),
        "threads": options.threads,
        "model": f"{shape.name}, random bfloat16 weights, greedy, {bench.new_tokens} new tokens",
        "cost_curve_milliseconds": {
            str(rows): rounded(1e3 * seconds) for rows, seconds in zip(curve.rows, curve.seconds, strict=True)
        },
        "seconds": {
            batch: {name: summary(values) for name, values in by_name.items()} for batch, by_name in samples.items()
        },
        "times_as_fast_as_plain": {
            batch: {name: paired_ratio(by_name[PLAIN], values) for name, values in by_name.items() if name != PLAIN}
            for batch, by_name in samples.items()
        },
        "counted": bench.facts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--new-tokens", type=int, default=96)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--cache", type=Path, help="folder that keeps the random checkpoint (1.2 GB)")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, to see that it works")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/speculative.json, nothing with --smoke")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = run(options, options.cache or Path(scratch))
    out = options.out or (None if options.smoke else RESULT)
    if out is not None:
        write_result(out, result)
    for batch, ratios in result["times_as_fast_as_plain"].items():
        for name, ratio in ratios.items():
            print(f"{batch:9} {name:32} {ratio:.3g} times as fast as plain")


if __name__ == "__main__":
    main()
