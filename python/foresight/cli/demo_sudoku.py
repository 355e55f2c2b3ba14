"""The Sudoku part of `foresight demo`: a grid that fills while it is decoded, then the latent dial, measured."""

from __future__ import annotations

import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foresight.cli.screen import Screen

if TYPE_CHECKING:
    from foresight.lm import LM
    from foresight.tasks import Problem

__all__ = ["DEFAULT_PUZZLES", "Dial", "draw_png", "measure_dial", "show_dial", "show_grid"]

DEFAULT_PUZZLES = 500
CANDIDATES = 8
LATENTS = (0, 2, 8, "all")
SECONDS_PER_FRAME = 0.08


@dataclass(frozen=True)
class Dial:
    """Puzzles solved for each number of latent tokens, and rows computed per puzzle, over the same puzzles."""

    puzzles: int
    right: dict[str, int]
    rows: dict[str, float]
    seconds: dict[str, float]

    def accuracy(self, latents: str) -> float:
        return self.right[latents] / self.puzzles

    def report(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "puzzles": self.puzzles,
            "candidates": CANDIDATES,
            "accuracy": {latents: round(self.accuracy(latents), 4) for latents in self.right},
            "rows_per_puzzle": {latents: round(rows, 1) for latents, rows in self.rows.items()},
            "seconds": {latents: round(seconds, 2) for latents, seconds in self.seconds.items()},
        }


def show_grid(lm: LM, problem: Problem, seed: int, screen: Screen) -> bool:
    """Decode one puzzle and draw its grid as it was filled; returns whether it came out right.

    At a terminal the grid is redrawn in place, cell by cell in the order of the trace, slowed down to be
    seen; elsewhere the puzzle and its solution are shown.
    """
    from foresight import tasks
    from foresight.decoding import MaskedDiffusion
    from foresight.tasks.sudoku import SIDE, show

    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        lm.generate([problem.prompt], decoding=MaskedDiffusion(candidates=CANDIDATES), seed=seed, trace=trace)
        events = [json.loads(line) for line in trace.read_text().splitlines()]
    cells = list(problem.prompt)
    screen.write(_indented(show(cells)))
    for event in events:
        if event["kind"] != "commit":
            continue
        for position, token in zip(event["positions"], event["tokens"], strict=True):
            cells[position] = token
        if screen.live:
            time.sleep(SECONDS_PER_FRAME)
            screen.write(f"\x1b[{SIDE}A" + _indented(show(cells)))
    if not screen.live:
        screen.line()
        screen.write(_indented(show(cells)))
    return tasks.get("sudoku").check(problem, cells)


def measure_dial(lm: LM, problems: list[Problem], seed: int) -> Dial:
    """Solve the same puzzles with every number of latent tokens."""
    from foresight import tasks
    from foresight.decoding import MaskedDiffusion

    task = tasks.get("sudoku")
    right, rows, seconds = {}, {}, {}
    for latents in LATENTS:
        out = lm.generate(
            [problem.prompt for problem in problems],
            decoding=MaskedDiffusion(latent_tokens=latents, candidates=CANDIDATES),  # type: ignore[arg-type]
            seed=seed,
            return_dict_in_generate=True,
        )
        pairs = zip(problems, out.sequences, strict=True)
        right[str(latents)] = sum(task.check(problem, sequence) for problem, sequence in pairs)
        rows[str(latents)] = out.stats.rows / len(problems)
        seconds[str(latents)] = out.stats.seconds
    return Dial(len(problems), right, rows, seconds)


def show_dial(dial: Dial, screen: Screen) -> None:
    """One bar per number of latent tokens, with what it costs beside it."""
    screen.line(screen.dim(f"  {'latents':>8} {'solved':>{screen.width - 35}} {'rows per puzzle':>21}"))
    for latents in dial.right:
        share = dial.accuracy(latents)
        bar = screen.bar(share, screen.width - 44)
        screen.line(f"  {latents:>8} {bar} {share:>7.1%} {dial.rows[latents]:>15,.0f}")
    screen.line()
    worst = max(math.sqrt(share * (1 - share) / dial.puzzles) for share in map(dial.accuracy, dial.right))
    screen.paragraph(
        f"The same {dial.puzzles:,} puzzles each time, none of them trained on; one cell per forward, the surest of"
        f" {CANDIDATES} candidates. Latent tokens are blanks that take part in a forward without being decided in it."
        f" Standard errors are at most {worst:.1%}."
    )


def draw_png(dial: Dial, path: Path) -> None:
    """Accuracy and cost against the number of latent tokens. Raises ValueError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--png needs matplotlib: pip install 'foresight-lm[plots]'") from None
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    names = list(dial.right)
    shares = [dial.accuracy(name) for name in names]
    errors = [math.sqrt(share * (1 - share) / dial.puzzles) for share in shares]
    axes.errorbar(names, [100 * s for s in shares], yerr=[100 * e for e in errors], marker="o", capsize=3)
    for name, share in zip(names, shares, strict=True):
        axes.annotate(
            f"{dial.rows[name]:.0f} rows",
            (name, 100 * share),
            textcoords="offset points",
            xytext=(0, -22),
            ha="center",
            fontsize=8,
        )
    axes.set_xlabel("latent tokens")
    axes.set_ylabel("puzzles solved, %")
    axes.set_title(f"Latent tokens on {dial.puzzles:,} held-out 6x6 Sudoku puzzles")
    axes.margins(x=0.1)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
