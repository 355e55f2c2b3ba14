"""Minimal 6x6 Sudoku puzzles with one solution each: the problems of the bundled latent-token models.

A grid has six rows and six columns of the digits 1 to 6 and boxes of two rows by three columns. A puzzle is minimal:
take away any given and it has more than one solution. Cells are written row by row; a blank is the token 0, which the
main model (semi-causal diffusion) takes for its mask and fills in place, while the left-to-right models read it as an
ordinary token and append the 36 cells of the solution.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from functools import cache

from foresight.tasks.base import Problem, Task, require_split

SIDE, BOX_ROWS, BOX_COLUMNS = 6, 2, 3
CELLS = SIDE * SIDE
BLANK = 0
MASK = 7
VOCABULARY = (".", *(str(digit) for digit in range(1, SIDE + 1)), "?")
"""Every token; a token's id is its place here: blank, the digits, and the mask of the left-to-right models."""

_ALL = (1 << SIDE) - 1
_SPLIT_SHARES = {"train": range(14), "validation": range(14, 15), "test": range(15, 16)}


def row_of(cell: int) -> int:
    return cell // SIDE


def column_of(cell: int) -> int:
    return cell % SIDE


def box_of(cell: int) -> int:
    return row_of(cell) // BOX_ROWS * (SIDE // BOX_COLUMNS) + column_of(cell) // BOX_COLUMNS


@cache
def _units() -> tuple[tuple[int, int, int], ...]:
    """For each cell the indices of its row, column and box in a list of all 18 units."""
    return tuple((row_of(c), SIDE + column_of(c), 2 * SIDE + box_of(c)) for c in range(CELLS))


def _used_digits(cells: Sequence[int]) -> list[int] | None:
    """For each unit the set of its digits as bits; None when a digit stands twice in one."""
    used = [0] * (3 * SIDE)
    for cell, digit in enumerate(cells):
        if digit == BLANK:
            continue
        bit = 1 << (digit - 1)
        for unit in _units()[cell]:
            if used[unit] & bit:
                return None
            used[unit] |= bit
    return used


def _search(cells: list[int], used: list[int], blanks: list[int], limit: int, rng: random.Random | None) -> int:
    """Count solutions up to `limit`, always filling the blank with the fewest candidates; `cells` keeps the last one."""
    units = _units()
    best, best_candidates, fewest = -1, 0, SIDE + 1
    for cell in blanks:
        row, column, box = units[cell]
        candidates = _ALL & ~(used[row] | used[column] | used[box])
        number = candidates.bit_count()
        if number < fewest:
            best, best_candidates, fewest = cell, candidates, number
            if number <= 1:
                break
    if best < 0:
        return 1
    rest = [cell for cell in blanks if cell != best]
    digits = [digit for digit in range(SIDE) if best_candidates >> digit & 1]
    if rng is not None:
        rng.shuffle(digits)
    found = 0
    for digit in digits:
        bit = 1 << digit
        for unit in units[best]:
            used[unit] |= bit
        cells[best] = digit + 1
        found += _search(cells, used, rest, limit - found, rng)
        for unit in units[best]:
            used[unit] &= ~bit
        if found >= limit:
            return found
        cells[best] = BLANK
    return found


def count_solutions(cells: Sequence[int], limit: int = 2) -> int:
    """Return how many solutions `cells` (36 digits, 0 for a blank) has, counting no further than `limit`."""
    used = _used_digits(cells)
    if used is None:
        return 0
    return _search(list(cells), used, [c for c in range(CELLS) if cells[c] == BLANK], limit, None)


def draw_solution(rng: random.Random) -> list[int]:
    """Draw a full valid grid."""
    cells = [BLANK] * CELLS
    _search(cells, [0] * (3 * SIDE), rng.sample(range(CELLS), CELLS), 1, rng)
    return cells


def make_minimal(solution: Sequence[int], rng: random.Random) -> list[int]:
    """Take givens away in random order while the solution stays the only one."""
    cells = list(solution)
    used = _used_digits(cells)
    assert used is not None
    for cell in rng.sample(range(CELLS), CELLS):
        bit = 1 << (cells[cell] - 1)
        units = _units()[cell]
        for unit in units:
            used[unit] &= ~bit
        cells[cell] = BLANK
        # Another solution would have another digit here: look for one with this digit forbidden.
        others = _ALL & ~(used[units[0]] | used[units[1]] | used[units[2]]) & ~bit
        blanks = [c for c in range(CELLS) if cells[c] == BLANK and c != cell]
        if any(_solves_with(cells, used, blanks, cell, digit) for digit in range(SIDE) if others >> digit & 1):
            cells[cell] = solution[cell]
            for unit in units:
                used[unit] |= bit
    return cells


def _solves_with(cells: list[int], used: list[int], blanks: list[int], cell: int, digit: int) -> bool:
    """Say whether a solution exists with `digit` (from 0) in `cell`; leaves its arguments as they were."""
    bit = 1 << digit
    units = _units()[cell]
    for unit in units:
        used[unit] |= bit
    trial = list(cells)
    trial[cell] = digit + 1
    found = _search(trial, used, blanks, 1, None)
    for unit in units:
        used[unit] &= ~bit
    return found > 0


def relabel(solution: Sequence[int]) -> tuple[int, ...]:
    """Rename the digits so that the first row reads 1 to 6: the same for every renaming of a grid."""
    names = {digit: index + 1 for index, digit in enumerate(solution[:SIDE])}
    return tuple(names[digit] for digit in solution)


def split_of(solution: Sequence[int]) -> str:
    """Return the split that every puzzle of this solution belongs to: a hash of the grid up to renamed digits."""
    digest = hashlib.blake2b(bytes(relabel(solution)), digest_size=8).digest()
    share = int.from_bytes(digest, "big") % 16
    return next(split for split, shares in _SPLIT_SHARES.items() if share in shares)


def show(cells: Sequence[int]) -> str:
    """Return the grid as six lines of text, a gap between boxes and a dot for each blank."""
    lines = []
    for row in range(SIDE):
        marks = [VOCABULARY[cell] for cell in cells[row * SIDE : (row + 1) * SIDE]]
        lines.append("  ".join(" ".join(marks[start : start + BOX_COLUMNS]) for start in range(0, SIDE, BOX_COLUMNS)))
    return "\n".join(lines)


class SudokuTask(Task):
    """Minimal 6x6 puzzles; `Problem.size` counts the blanks (about 26 of 36)."""

    name = "sudoku"
    models = ("sudoku", "sudoku-ar", "sudoku-mtp")

    def problems(self, n: int, seed: int = 0, split: str = "test") -> list[Problem]:
        require_split(n, split)
        rng = random.Random(f"sudoku:{split}:{seed}")
        found: dict[tuple[int, ...], Problem] = {}
        while len(found) < n:
            solution = draw_solution(rng)
            if split_of(solution) != split:
                continue
            cells = make_minimal(solution, rng)
            found.setdefault(
                tuple(cells),
                Problem(
                    prompt=cells,
                    answer="".join(VOCABULARY[digit] for digit in solution),
                    text="".join(VOCABULARY[cell] for cell in cells),
                    size=cells.count(BLANK),
                ),
            )
        return list(found.values())

    def answer(self, sequence: str | Iterable[int]) -> str | None:
        """Read the last 36 cells, be it a grid filled in place or one appended to its puzzle."""
        if isinstance(sequence, str):
            marks = [mark for mark in sequence if mark in VOCABULARY]
        else:
            marks = [VOCABULARY[i] for i in map(int, sequence) if 0 <= i < len(VOCABULARY)]
        grid = "".join(marks[-CELLS:])
        return grid if len(grid) == CELLS and grid.isdigit() else None
