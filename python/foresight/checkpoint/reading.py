"""How a checkpoint is to be read: who sees whom, which position a row speaks for, and what the mask is.

Files say it in the family's own way, or not at all; what the user states goes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foresight.checkpoint.families import Family
from foresight.checkpoint.fields import Fields, shown

__all__ = ["read_reading"]

ATTENTIONS = ("causal", "full", "block_causal", "semi_causal")
_STATEMENTS = ("attention", "shifted", "mask_token_id", "block_length")


def read_reading(fields: Fields, family: Family, overrides: Mapping[str, Any], vocab_size: int) -> dict[str, Any]:
    """attention, shifted, mask_token_id and block_length.

    Raises ValueError for statements that do not exist, are out of range or do not fit each other, naming
    the choices; CheckpointError for fields of the file that are wrong.
    """
    for name in overrides:
        if name not in _STATEMENTS:
            raise ValueError(f"config={{{name!r}: ...}}: no such statement; known are {', '.join(_STATEMENTS)}")
    attention = overrides.get("attention", _own_attention(fields, family))
    if attention not in ATTENTIONS:
        raise ValueError(f"config attention is {shown(attention)}, expected one of {', '.join(ATTENTIONS)}")
    shifted = overrides.get("shifted", _own_shift(fields, family, attention))
    if not isinstance(shifted, bool):
        raise ValueError(f"config shifted is {shown(shifted)}, expected True or False")
    mask = overrides.get("mask_token_id", _own_mask(fields, family))
    if mask is not None and not _is_integer(mask, 0, vocab_size - 1):
        raise ValueError(f"config mask_token_id is {shown(mask)}, expected None or an id from 0 to {vocab_size - 1}")
    if mask is None and attention != "causal":
        raise ValueError(
            f"{fields.source}: {attention} attention needs a mask token, and the file names none: state it with"
            ' config={"mask_token_id": ...}'
        )
    own_block = fields.optional_integer("block_length") if family.states_reading else None
    block = overrides.get("block_length", own_block)
    if attention == "block_causal" and not _is_integer(block, 1, 2**20):
        raise ValueError(
            f"config block_length is {shown(block)}, expected an integer of at least 1, as attention is block_causal"
        )
    if attention != "block_causal" and block is not None:
        raise ValueError(f"config block_length is {shown(block)}, but attention is {attention}, not block_causal")
    return {"attention": attention, "shifted": shifted, "mask_token_id": mask, "block_length": block}


def _own_attention(fields: Fields, family: Family) -> str:
    return fields.text("attention", family.attention) if family.states_reading else family.attention


def _own_shift(fields: Fields, family: Family, attention: str) -> bool:
    """Unless a family differs, causal models speak for the next position and the others for their own."""
    if family.states_reading and fields.has("shifted"):
        return fields.flag("shifted", True)
    return attention == "causal" if family.shifted is None else family.shifted


def _own_mask(fields: Fields, family: Family) -> int | None:
    if family.attention == "causal" and not family.states_reading:
        return None
    return fields.token_id("mask_token_id") if fields.has("mask_token_id") else family.mask_token_id


def _is_integer(value: Any, minimum: int, maximum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
