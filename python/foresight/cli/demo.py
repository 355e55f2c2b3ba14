"""`foresight demo`: the bundled reasoner thinks about held-out problems, alone and together; then Sudoku."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foresight.cli import demo_sudoku, loading, measure
from foresight.cli.demo_view import DemoView
from foresight.cli.machine import describe_machine
from foresight.cli.options import Debug, Threads
from foresight.cli.screen import Screen

if TYPE_CHECKING:
    from foresight.lm import LM

_BUDGET_SECONDS = 25.0
_FEWEST, _MOST = 2, 24
_COST_FACTOR = 2.8  # of a problem in the big batch, forced answers included, to the streamed one
_SHOWN = 3
_STREAMED_SIZE = 5


@dataclass(frozen=True)
class Setting:
    """Who measured, with what."""

    version: str
    processor: str
    isa: str
    threads: int
    weight_bytes: int
    load_seconds: float
    seed: int


def demo(
    problems: Annotated[
        int | None,
        typer.Option(
            "--problems", min=1, metavar="N", help="Problems to measure; by default as many as 25 seconds allow."
        ),
    ] = None,
    width: Annotated[int, typer.Option("--width", min=1, metavar="N", help="Thoughts per problem.")] = 32,
    puzzles: Annotated[
        int, typer.Option("--puzzles", min=1, metavar="N", help="Sudoku puzzles for each number of latent tokens.")
    ] = demo_sudoku.DEFAULT_PUZZLES,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Draw the Sudoku curve as a picture, too.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**31 - 1, metavar="N", help="The same seed, the same thoughts.")
    ] = 0,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    debug: Debug = False,
) -> None:
    """Let the bundled models solve problems they have never seen.

    One thought is shown as it is written; then many thoughts about many problems are written as one
    batch, and their answers are put to the vote. Then a diffusion model fills Sudoku grids, with more
    and fewer latent tokens. Needs no network, no GPU and about a minute.
    """
    from foresight import tasks

    begun = time.perf_counter()
    task = tasks.get("reasoner")
    lm = loading.load_model("bundled:reasoner", threads=threads)
    setting = _setting(lm, seed, threads, time.perf_counter() - begun)
    view = DemoView(setting, width, Screen(silent=as_json))

    shown = task.problems(_SHOWN, seed)
    view.introduce(shown)
    chosen = min(shown, key=lambda problem: abs(problem.size - _STREAMED_SIZE))
    view.start_thought(chosen)
    (thought_seed,) = measure.prompt_seeds(seed, 0, 1)
    view.end_thought(measure.stream_thought(lm, task, chosen, thought_seed, view.show_text))

    view.start_votes()
    first = measure.sample(lm, task, [chosen], width, [thought_seed])
    view.show_votes(first)

    count = problems or _affordable(first, time.perf_counter() - begun)
    view.start_batch(count)
    others = task.problems(_SHOWN + count, seed)[_SHOWN:]
    samples = measure.sample(lm, task, others, width, measure.prompt_seeds(seed, _SHOWN, count))
    view.show_samples(samples)

    view.start_forcing()
    forced = measure.force_answers(lm, task, samples)
    view.show_forced(forced)

    view.close(samples, time.perf_counter() - begun)

    dial = _sudoku(view.screen, puzzles, seed, threads)
    if png is not None:
        demo_sudoku.draw_png(dial, png)
    if as_json:
        report = _report(setting, samples, forced, time.perf_counter() - begun)
        typer.echo(json.dumps({**report, "sudoku": dial.report()}, indent=2))


def _sudoku(screen: Screen, puzzles: int, seed: int, threads: int | None) -> demo_sudoku.Dial:
    from foresight import tasks

    lm = loading.load_model("bundled:sudoku", threads=threads)
    shown, *others = tasks.get("sudoku").problems(1 + puzzles, seed)
    screen.heading("A Sudoku grid, filled by a diffusion model")
    is_right = demo_sudoku.show_grid(lm, shown, seed, screen)
    screen.line()
    screen.line("  " + (screen.good("right") if is_right else screen.bad("wrong")))
    screen.heading(f"{puzzles:,} puzzles, with more and fewer latent tokens")
    screen.status("  solving ...")
    dial = demo_sudoku.measure_dial(lm, others, seed)
    screen.clear_status()
    demo_sudoku.show_dial(dial, screen)
    return dial


def _setting(lm: LM, seed: int, threads: int | None, load_seconds: float) -> Setting:
    import foresight
    from foresight import _core

    return Setting(
        version=foresight.__version__,
        processor=describe_machine().processor,
        isa=_core.default_isa(),
        threads=threads or _core.default_num_threads(),
        weight_bytes=lm.memory()["weights"],
        load_seconds=load_seconds,
        seed=seed,
    )


def _affordable(first: measure.Samples, spent: float) -> int:
    """How many problems fit into the time that is left, going by how long the first one took."""
    each = max(first.seconds, 1e-3) * _COST_FACTOR
    return max(_FEWEST, min(_MOST, int((_BUDGET_SECONDS - spent) / each)))


def _report(setting: Setting, samples: measure.Samples, forced: measure.Forced, seconds: float) -> dict[str, Any]:
    """Everything that was measured, as JSON has it."""
    thoughts = len(samples.answers)
    return {
        "foresight": setting.version,
        "model": "bundled:reasoner",
        "processor": setting.processor,
        "isa": setting.isa,
        "threads": setting.threads,
        "seed": setting.seed,
        "problems": len(samples.problems),
        "width": samples.width,
        "single_accuracy": samples.right_alone / thoughts,
        "majority_accuracy": samples.right_together / len(samples.problems),
        "forced_accuracy": {str(depth): right / forced.asked_per_depth for depth, right in forced.right.items()},
        "forced_answers_per_depth": forced.asked_per_depth,
        "generated_tokens": samples.tokens,
        "forwards": samples.forwards,
        "rows": samples.rows,
        "sampling_seconds": round(samples.seconds, 3),
        "tokens_per_second": round(samples.tokens / samples.seconds, 1),
        "forced_forwards": forced.forwards,
        "forced_seconds": round(forced.seconds, 3),
        "load_seconds": round(setting.load_seconds, 3),
        "total_seconds": round(seconds, 3),
    }
