"""How much of a drafter's guesses a model accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from foresight.call import Call
from foresight.decoding import Speculative
from foresight.output import Stats

if TYPE_CHECKING:
    from foresight.call import LoadedModel

__all__ = ["Acceptance", "measure_acceptance"]


@dataclass(frozen=True)
class Acceptance:
    """What became of the guesses, by their place in a row of guesses.

    drafted_at, accepted_at: rows of guesses that reached the place, and those whose guess there was
    accepted. rates: float64, of each place: accepted, given that the guesses before it were; nan where
    none was reached. tokens_per_forward: what a forward of the model gave. stats: the whole account.
    """

    drafted_at: tuple[int, ...]
    accepted_at: tuple[int, ...]
    rates: npt.NDArray[np.float64]
    tokens_per_forward: float
    stats: Stats


def measure_acceptance(
    model: LoadedModel, prompts: Any, drafter: Any, num_draft_tokens: int, verification: Any, options: dict[str, Any]
) -> Acceptance:
    """Continues the prompts with num_draft_tokens guesses in every step."""
    for name in ("decoding", "return_dict_in_generate"):
        if name in options:
            raise TypeError(f"acceptance sets {name} itself")
    decoding = Speculative(drafter, num_draft_tokens, verification=verification, adaptive=False)
    call = Call(model, prompts, decoding=decoding, return_dict_in_generate=True, **{"seed": 0, **options})
    with call.running() as run:
        for _ in run.events("done"):
            pass
        stats = run.result().stats
    # A row of guesses reaches a place if it is that long and those before were accepted.
    drafted = np.array(stats.drafted_at, dtype=np.float64)
    accepted = np.array(stats.accepted_at, dtype=np.float64)
    reached = np.minimum(drafted, np.concatenate((drafted[:1], accepted[:-1])))
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = accepted / reached
    return Acceptance(stats.drafted_at, stats.accepted_at, rates, stats.tokens_per_forward, stats)
