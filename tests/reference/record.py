"""What a reference sampler hands back: the canvas, every forward it ran and every token it wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Forward:
    kind: str  # "decide", "store" (fills a cache) or "prefill"
    rows: int
    changed: int = 0  # canvas positions that it changed


@dataclass(frozen=True)
class Decision:
    row: int
    position: int
    token: int
    confidence: float
    step: int  # index into Run.passes


@dataclass
class Run:
    """A decoding in progress, then its result.

    ids: the canvas [B, L]. passes: all forwards in order. decisions: all changes of the canvas, edits included.
    """

    ids: Tensor
    passes: list[Forward] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def forwards(self) -> int:
        return len(self.passes)

    @property
    def empty(self) -> int:
        """Forwards that were to decide tokens and changed none."""
        return sum(one.kind == "decide" and not one.changed for one in self.passes)

    @property
    def stores(self) -> int:
        return sum(one.kind == "store" for one in self.passes)

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.passes)

    def steps(self, row: int = 0) -> dict[int, int]:
        """Position -> the forward that gave it its last token."""
        return {one.position: one.step for one in self.decisions if one.row == row}

    def confidences(self, row: int = 0) -> dict[int, float]:
        return {one.position: one.confidence for one in self.decisions if one.row == row}

    def forward(self, rows: int, kind: str = "decide") -> None:
        self.passes.append(Forward(kind, rows))

    def write(
        self,
        row: int,
        positions: Tensor | Iterable[int],
        tokens: Tensor | Mapping[int, int],
        confidences: Tensor | Mapping[int, float],
    ) -> None:
        """Writes the tokens of these positions, in the name of the latest forward; what stays the same is no change."""
        for position in (int(p) for p in positions):
            token = int(tokens[position])
            if token == int(self.ids[row, position]):
                continue
            self.ids[row, position] = token
            self.passes[-1].changed += 1
            self.decisions.append(Decision(row, position, token, float(confidences[position]), len(self.passes) - 1))
