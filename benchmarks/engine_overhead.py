"""What a step of the engine costs beside the forward: scheduling, pages, readouts, policies, commits.

    python benchmarks/engine_overhead.py

A model of one narrow layer decodes 64 sequences, one row each. Prints JSON; the target is 0.2 ms per step.
"sampled" has no target: most of it are the warpers and the draw, 64 times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from support.checkpoint import Shape, ensure_checkpoint
from support.machine import load_average
from support.results import rounded

from foresight import _core, checkpoint
from foresight.core_config import core_config

TARGET_SECONDS = 0.2e-3
NARROW = Shape("one-layer", 16, 1, 1, 1, 16, 16, 64)
NEUTRAL: dict[str, Any] = {"eos_token_ids": []}
SAMPLED = {**NEUTRAL, "do_sample": True, "temperature": 0.9, "top_p": 0.9}


def make_engine(folder: Path) -> _core.Engine:
    loaded = checkpoint.load(ensure_checkpoint(folder, NARROW))
    tensors = {name: (view.array, view.dtype, view.shape) for name, view in loaded.tensors.items()}
    return _core.Engine(core_config(loaded.config), tensors, dtype="float32", kv_cache_bytes=64 << 20, num_threads=1)


def measure(engine: _core.Engine, steps: int, *, sampling: dict[str, Any], until: str = "done") -> dict[str, float]:
    """Seconds of one step of 64 decoding sequences, in the model and beside it."""
    job = engine.job()
    engine.fix_chunk_rows(64)  # all start at once
    for i in range(64):
        job.add([1], sampling=sampling, max_new_tokens=steps, seed=i)
    start = time.perf_counter()
    while not job.done():
        job.advance(until)
    seconds = time.perf_counter() - start
    stats = job.stats()
    job.close()
    engine.fix_chunk_rows(0)
    forwards = stats["forwards"]
    return {
        "rows_per_step": rounded(stats["rows"] / forwards),
        "step_seconds": rounded(seconds / forwards),
        "forward_seconds": rounded(stats["forward_seconds"] / forwards),
        "overhead_seconds": rounded((seconds - stats["forward_seconds"]) / forwards),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it works")
    steps, rounds = (20, 1) if parser.parse_args().smoke else (1000, 7)
    cases: dict[str, dict[str, Any]] = {
        "greedy": {"sampling": NEUTRAL},
        "sampled": {"sampling": SAMPLED},
        "streamed": {"sampling": NEUTRAL, "until": "step"},
    }
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(Path(folder))
        samples: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, options in cases.items():
                samples[name].append(measure(engine, steps, **options))
    result: dict[str, Any] = {"load_average": load_average(), "target_overhead_seconds": TARGET_SECONDS}
    for name, values in samples.items():
        result[name] = {field: statistics.median(v[field] for v in values) for field in values[0]}
        if name != "sampled":
            result[name]["met"] = result[name]["overhead_seconds"] <= TARGET_SECONDS
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
