"""64 branches of one prompt beside transformers' generate(num_return_sequences=64), and a long prompt that they share.

    python benchmarks/branches_wide.py [--lengths TRACES.json] [--rounds 2] [--lock FILE] [--smoke]
                                                            -> benchmarks/results/branches_wide.json

The model has the shape of Qwen3-0.6B and random bfloat16 weights. The branches' lengths are drawn from recorded
reasoning, scaled down: without a file, from a log-normal law with its mean and 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from support.checkpoint import QWEN3_06B, TINY, Shape, ensure_checkpoint
from support.engine import Limits, random_tokens
from support.machine import StreamRead, describe_machine, load_average
from support.results import paired_ratio, rounded, summary, write_result
from support.turns import turn
from support.worker import EngineProcess

RESULT = Path(__file__).resolve().parent / "results" / "branches_wide.json"
WIDTH, PEER_WIDTH = 64, 16
PROMPT_TOKENS = 64
SCALE = 100
# Of the published AIME24 traces of Qwen3-8B: tokens of a branch.
MEAN, P90, MOST = 14_200, 28_000, 41_500
OURS, THEIRS = "foresight brancher", "transformers brancher"
FEW = 8  # prompts of which each has a cache of its own


def draw_lengths(file: Path | None, rng: random.Random) -> list[int]:
    """WIDTH lengths, scaled down."""
    if file is not None:
        questions = json.loads(file.read_bytes())
        pool = [branch[1] for question in questions for branch in question["each_branch"]]
        drawn = rng.sample(pool, WIDTH)
    else:
        # mean = exp(mu + s^2 / 2), p90 = exp(mu + 1.2816 s); the smaller of the two solutions for s.
        z, ratio = 1.2816, math.log(P90 / MEAN)
        s = z - math.sqrt(z * z - 2 * ratio)
        drawn = [min(MOST, rng.lognormvariate(math.log(MEAN) - s * s / 2, s)) for _ in range(WIDTH)]
    return [max(1, round(length / SCALE)) for length in drawn]


@contextmanager
def engine(name: str, folder: Path, threads: int, limits: Limits) -> Any:
    process = EngineProcess(name, folder, threads, limits)
    try:
        yield process
    finally:
        process.close()


def wide(folder: Path, threads: int, lengths: list[int], rounds: int, hold: Callable[[], Any]) -> dict[str, Any]:
    """Both engines write the same numbers of tokens, one after the other, in rounds that begin with another."""
    prompt = random_tokens(1, PROMPT_TOKENS, 512)
    limits = Limits(batch=WIDTH, tokens_per_sequence=len(prompt) + max(lengths), context=64)
    reports: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: []}
    with engine(OURS, folder, threads, limits) as ours, engine(THEIRS, folder, threads, limits) as theirs:
        engines = [ours, theirs]
        with hold():
            for process in engines:  # weights are read, threads are started
                process.measure("wide", prompt, [2] * 4, 0)
        for number in range(rounds):
            for process in engines if number % 2 == 0 else engines[::-1]:
                with hold():
                    report = process.measure("wide", prompt, lengths, number)
                report["load_average"] = load_average()
                print(f"round {number}, {process.name}: {report}", file=sys.stderr, flush=True)
                reports[process.name].append(report)
    return wide_report(lengths, reports)


def wide_report(lengths: list[int], reports: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What the rounds of both engines amount to."""
    seconds = {name: [report["seconds"] for report in lines] for name, lines in reports.items()}
    peaks = {name: lines[0]["peak_cache_bytes"] for name, lines in reports.items()}
    return {
        "width": WIDTH,
        "prompt_tokens": PROMPT_TOKENS,
        "lengths": {"mean": rounded(float(np.mean(lengths))), "median": float(np.median(lengths)), "max": max(lengths)},
        "rounds": len(seconds[OURS]),
        **{
            name.split()[0]: {
                "seconds": summary(seconds[name]),
                "tokens_per_second": rounded(lines[0]["tokens"] / float(np.median(seconds[name]))),
                **{key: lines[0][key] for key in ("tokens", "rows", "forwards", "peak_cache_bytes")},
                "load_average": [rounded(report["load_average"]) for report in lines],
            }
            for name, lines in reports.items()
        },
        "times_as_fast_as_transformers": paired_ratio(seconds[THEIRS], seconds[OURS]),
        "times_less_cache_than_transformers": rounded(peaks[THEIRS] / peaks[OURS]),
        "times_fewer_rows_than_transformers": rounded(reports[THEIRS][0]["rows"] / reports[OURS][0]["rows"]),
    }


def prefix(
    folder: Path, threads: int, shape: Shape, length: int, num_new: int, hold: Callable[[], Any]
) -> dict[str, Any]:
    """A long prompt that all branches share."""
    long, short = random_tokens(2, length, 512), random_tokens(2, 16, 512)
    others = [random_tokens(3 + i, length, 512) for i in range(FEW)]
    bytes_per_token = 4 * shape.num_layers * shape.num_kv_heads * shape.head_dim
    limits = Limits(batch=FEW, tokens_per_sequence=length + 64, context=length + WIDTH * 64)
    result: dict[str, Any] = {"prompt_tokens": length, "new_tokens": num_new, "width": WIDTH}
    with engine(OURS, folder, threads, limits) as ours:
        with hold():
            ours.measure("shared", short, WIDTH, 4)
            stream = StreamRead(threads, 1 << 29).measure()
            runs = {
                f"{WIDTH} branches, long prompt": (long, WIDTH),
                f"{WIDTH} branches, prompt of {len(short)}": (short, WIDTH),
                "1 branch, long prompt": (long, 1),
                f"1 branch, prompt of {len(short)}": (short, 1),
            }
            result["foresight"] = {
                name: ours.measure("shared", prompt, width, num_new) for name, (prompt, width) in runs.items()
            }
        with hold():
            steps = {
                f"{FEW} forks of one long prompt": ours.measure("step", [long], FEW, 12),
                f"{FEW} long prompts, each with a cache of its own": ours.measure("step", others, 1, 12),
                f"{FEW} prompts of {len(short)}": ours.measure("step", [short] * FEW, 1, 12),
            }
    wide_long, wide_short, one_long, one_short = result["foresight"].values()
    more = {
        f"{WIDTH} branches": wide_long["seconds_per_step"] - wide_short["seconds_per_step"],
        "1 branch": one_long["seconds_per_step"] - one_short["seconds_per_step"],
    }
    read_again = WIDTH * length * bytes_per_token / stream
    result["foresight_seconds_of_one_forward"] = steps
    result["seconds_per_step_that_the_long_prompt_adds"] = more
    result["seconds_to_read_it_once_per_branch"] = read_again
    result["stream_read_bytes_per_second"] = stream
    result["prompt_rows"] = {"foresight": wide_long["rows"] - WIDTH * (num_new - 1)}
    with engine(THEIRS, folder, threads, limits) as theirs, hold():
        result["prompt_rows"]["transformers, as counted with a prompt of 16"] = (
            f"{theirs.measure('prompt_rows', short, PEER_WIDTH)} for {PEER_WIDTH} sequences"
        )
        theirs.measure("shared", short, PEER_WIDTH, 2)
        peer = theirs.measure("shared", long, PEER_WIDTH, 8)
        peer_short = theirs.measure("shared", short, PEER_WIDTH, 8)
    result[f"transformers, {PEER_WIDTH} sequences"] = {
        **peer,
        "seconds_per_step_that_the_long_prompt_adds": peer["seconds_per_step"] - peer_short["seconds_per_step"],
        "prompt_seconds_times_width": peer["prompt_seconds"] * PEER_WIDTH,
    }
    return to_digits(result)


def to_digits(value: Any) -> Any:
    """Four digits of every measured figure."""
    if isinstance(value, dict):
        return {key: to_digits(item) for key, item in value.items()}
    return rounded(value) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--lengths", type=Path, help="a file of the released Parallel-Probe format; only lengths are used"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="a folder that keeps the model (1.2 GB)")
    parser.add_argument("--only", choices=("wide", "prefix"), help="the other part of the result file stays as it is")
    parser.add_argument("--lock", type=Path, help="a file whose lock is held while something is measured")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, nothing written")
    options = parser.parse_args()

    def hold() -> Any:
        return turn(options.lock)

    shape, scaled = (TINY, 8) if options.smoke else (QWEN3_06B, 1)
    lengths = [-(-length // scaled) for length in draw_lengths(options.lengths, random.Random(0))]
    result: dict[str, Any] = json.loads(RESULT.read_text()) if options.only and RESULT.exists() else {}
    result.update(
        command=f"python benchmarks/branches_wide.py --rounds {options.rounds}"
        + " --lengths FILE" * bool(options.lengths),
        machine=describe_machine(),
        threads=options.threads,
        model=f"{shape.name}, random bfloat16 weights",
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = ensure_checkpoint(options.cache or Path(temporary), shape)
        if options.only != "prefix":
            source = "a recorded file" if options.lengths else f"a log-normal law, mean {MEAN}, p90 {P90}, max {MOST}"
            drawn = {"lengths_drawn_from": f"{source}, divided by {SCALE * scaled}"}
            result["wide"] = drawn | wide(folder, options.threads, lengths, options.rounds, hold)
        if options.only != "wide":
            length, num_new = (256, 8) if options.smoke else (4096, 32)
            result["shared_prompt"] = prefix(folder, options.threads, shape, length, num_new, hold)
    print(json.dumps({key: result[key] for key in ("wide", "shared_prompt") if key in result}, indent=2))
    if not options.smoke:
        write_result(RESULT, result)


if __name__ == "__main__":
    main()
