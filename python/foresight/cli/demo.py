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
    from foresight.trace_branches import BranchTrace

_BUDGET_SECONDS = 25.0
_FEWEST, _MOST = 2, 24
_TOKENS_EACH = 450  # of a problem under all controllers, for each branch of the width
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
    branches_png: Annotated[
        Path | None, typer.Option("--branches-png", metavar="FILE", help="Draw the branches of one problem, too.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**31 - 1, metavar="N", help="The same seed, the same thoughts.")
    ] = 0,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    debug: Debug = False,
) -> None:
    """Let the bundled models solve problems they have never seen.

    One thought is shown as it is written; then many thoughts about a problem, and how a controller probes, prunes
    and stops them; then many problems, with and without a controller, and what each of them costs.
    Then a diffusion model fills Sudoku grids, with more and fewer latent tokens. Needs no network, no GPU and
    about a minute.
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

    trace = measure.trace_branches(lm, chosen, width, thought_seed)
    view.show_branches(trace)
    if branches_png is not None:
        _draw_branches(trace, branches_png)

    count = problems or _affordable(first, time.perf_counter() - begun)
    view.start_comparison(count)
    others = task.problems(_SHOWN + count, seed)[_SHOWN:]
    found = measure.compare(lm, others, width, measure.prompt_seeds(seed, _SHOWN, count), view.show_progress)
    view.show_comparison(found)

    view.close(found, time.perf_counter() - begun)

    dial = _sudoku(view.screen, puzzles, seed, threads)
    if png is not None:
        demo_sudoku.draw_png(dial, png)
    if as_json:
        report = _report(setting, width, found, time.perf_counter() - begun)
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


def _draw_branches(trace: BranchTrace, path: Path) -> None:
    from foresight.plots.branch_map import draw

    try:
        draw(trace).savefig(path, format="png")
    except ImportError as error:
        raise ValueError(f"--branches-png: {error}") from None


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
    """How many problems fit into the time that is left, going by the speed at the first one."""
    each = _TOKENS_EACH * first.width * max(first.seconds, 1e-3) / first.tokens
    return max(_FEWEST, min(_MOST, int((_BUDGET_SECONDS - spent) / each)))


def _report(setting: Setting, width: int, found: list[measure.Controlled], seconds: float) -> dict[str, Any]:
    """Everything that was measured, as JSON has it."""
    full = found[0]
    return {
        "foresight": setting.version,
        "model": "bundled:reasoner",
        "processor": setting.processor,
        "isa": setting.isa,
        "threads": setting.threads,
        "seed": setting.seed,
        "problems": full.problems,
        "width": width,
        "single_accuracy": full.right_alone / max(full.finished, 1),
        "controllers": {entry.name: entry.report() for entry in found},
        "tokens_per_second": round(full.total_tokens / max(full.seconds, 1e-9), 1),
        "load_seconds": round(setting.load_seconds, 3),
        "total_seconds": round(seconds, 3),
    }
