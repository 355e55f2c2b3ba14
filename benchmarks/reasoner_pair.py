"""The bundled reasoner with its draft model beside plain decoding: tokens per forward and wall time.

    python benchmarks/reasoner_pair.py [--problems 64] [--rounds 3] [--smoke]    -> benchmarks/results/reasoner_pair.json

The same test problems in every setting, in calls of 1 and of 16; rounds are interleaved. Nothing is seeded but the
plain greedy text that speculation has to repeat: with a seed the adaptive rule would go by stored costs, not by this
machine's. Both models are tiny, and the cost of a row on them is far from that on a model whose weights fill memory.
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from support.machine import describe_machine, load_average
from support.results import interleave, paired_ratio, rounded, summary, write_result
from support.turns import turn

import foresight as fs

RESULT = Path(__file__).resolve().parent / "results" / "reasoner_pair.json"
PLAIN = "plain"
BATCHES = (1, 16)
SAMPLING = {
    "greedy": {"do_sample": False},
    "temperature 1": {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
}


class Pair:
    """Both models, the problems, and what the calls counted."""

    def __init__(self, problems: int, threads: int) -> None:
        self._lm = fs.LM.bundled("reasoner", num_threads=threads)
        draft = fs.LM.bundled("reasoner-draft", num_threads=threads)
        self.decodings: dict[str, fs.Speculative | None] = {PLAIN: None}
        for count in (4, 7):
            self.decodings[f"{count} guesses, always"] = fs.Speculative(draft, count, adaptive=False)
            self.decodings[f"up to {count} guesses, adaptive"] = fs.Speculative(draft, count)
        self._problems = fs.tasks.get("reasoner").problems(problems)
        self.counted: dict[str, dict[str, list[float]]] = {}
        self.curve = self._lm.cost_curve()
        self._draft_curve = draft.cost_curve()
        self._greedy: list[list[int]] = []

    @property
    def draft_over_target(self) -> float:
        """Time of the draft model's forward of one row over the target's."""
        return self._draft_curve.at(1) / self.curve.at(1)

    def seconds_per_token(self, batch: int, sampling: str, name: str) -> float:
        """Wall time of all problems over the tokens written, which sampling makes a little different each time."""
        prompts = [problem.prompt for problem in self._problems]
        totals = dict.fromkeys(("seconds", "tokens", "forwards", "drafted", "accepted", "draft_seconds"), 0.0)
        sequences: list[list[int]] = []
        branch_forwards = 0
        for first in range(0, len(prompts), batch):
            begin = time.perf_counter()
            out = self._lm.generate(
                prompts[first : first + batch],
                decoding=self.decodings[name],
                max_new_tokens=512,
                return_dict_in_generate=True,
                **SAMPLING[sampling],
            )
            totals["seconds"] += time.perf_counter() - begin
            stats = out.stats
            totals["tokens"] += stats.generated_tokens
            totals["forwards"] += stats.forwards
            totals["drafted"] += stats.drafted_tokens
            totals["accepted"] += stats.accepted_tokens
            totals["draft_seconds"] += stats.draft_seconds
            branch_forwards += sum(each.forwards for each in stats.per_sequence)
            sequences += out.sequences
        if sampling == "greedy":
            self._greedy = self._greedy or sequences
            if sequences != self._greedy:
                raise RuntimeError(f"batch {batch}, {name}: greedy tokens differ from plain decoding's")
        into = self.counted.setdefault(f"batch {batch}, {sampling}, {name}", {})
        for key, value in (
            ("tokens_per_forward", totals["tokens"] / branch_forwards),
            ("accepted_share", totals["accepted"] / totals["drafted"] if totals["drafted"] else 0.0),
            ("drafted_tokens", totals["drafted"]),
            ("draft_share_of_time", totals["draft_seconds"] / totals["seconds"]),
            ("tokens", totals["tokens"]),
            ("forwards", totals["forwards"]),
        ):
            into.setdefault(key, []).append(value)
        return totals["seconds"] / totals["tokens"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lock", type=Path, help="file to lock (as flock does) during each round")
    parser.add_argument("--smoke", action="store_true", help="few problems, nothing written")
    options = parser.parse_args()
    if options.smoke:
        options.problems, options.rounds = 16, 1
    load: list[float] = []

    def timed(batch: int, sampling: str) -> Callable[[str], float]:
        return lambda name: pair.seconds_per_token(batch, sampling, name)

    with turn(options.lock):
        pair = Pair(options.problems, options.threads)
        timed(16, "greedy")(PLAIN)  # warm, and the text that all others must repeat
    pair.counted.clear()
    samples = interleave(
        options.rounds,
        list(pair.decodings),
        [(f"batch {batch}, {sampling}", timed(batch, sampling)) for batch in BATCHES for sampling in SAMPLING],
        lambda: load.append(load_average()),
        lambda: turn(options.lock),
    )
    words = [f"--problems={options.problems}", f"--rounds={options.rounds}", f"--threads={options.threads}"]
    result = {
        "command": shlex.join(["python", "benchmarks/reasoner_pair.py", *words]),
        "machine": describe_machine(),
        "load_average": summary(load),
        "threads": options.threads,
        "problems": options.problems,
        "cost_curve_milliseconds": {
            str(rows): rounded(1e3 * seconds) for rows, seconds in zip(pair.curve.rows, pair.curve.seconds, strict=True)
        },
        "draft_row_over_target_row": rounded(pair.draft_over_target),
        "tokens_per_second": {
            call: {name: rounded(1 / summary(values)["median"]) for name, values in by_name.items()}
            for call, by_name in samples.items()
        },
        "times_as_fast_as_plain": {
            call: {name: paired_ratio(by_name[PLAIN], values) for name, values in by_name.items() if name != PLAIN}
            for call, by_name in samples.items()
        },
        "counted": {
            call: {key: rounded(float(np.mean(values))) for key, values in counts.items()}
            for call, counts in pair.counted.items()
        },
    }
    if not options.smoke:
        write_result(RESULT, result)
    for call, ratios in result["times_as_fast_as_plain"].items():
        for name, ratio in ratios.items():
            per_forward = result["counted"][f"{call}, {name}"]["tokens_per_forward"]
            print(f"{call:26} {name:28} {per_forward:.3g} tokens per forward, {ratio:.3g} times as fast")


if __name__ == "__main__":
    main()
