"""How a checkpoint is to be read: who sees whom, which position a row speaks for, and what the mask is.

Files say it in the family's own way, or not at all; what the user states goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from foresight.checkpoint.family import Family
from foresight.checkpoint.fields import Fields, shown

__all__ = ["Surroundings", "read_reading"]

ATTENTIONS = ("causal", "full", "block_causal", "semi_causal")
MAX_BLOCK = 2**20
_STATEMENTS = ("attention", "shifted", "mask_token_id", "block_length")
# SDAR's released blocks hold 4 to 64 positions; I-DLM's files state their stride minus one.
_STRIDED_BLOCKS = (2, 3)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies around a config.json and may tell how the model is read."""

    names: tuple[str, ...] = ()  # of the folder, of the hub's repository
    tokenizer_mask: Callable[[], int | None] | None = None  # the id of the tokenizer's mask token
    has_adapter: bool = False  # a causal model with one has masks too


def read_reading(
    fields: Fields, family: Family, overrides: Mapping[str, Any], vocab_size: int, around: Surroundings
) -> dict[str, Any]:
    """attention, shifted, mask_token_id, block_length and sub_block_length.

    Raises ValueError for statements that do not exist, are out of range or do not fit each other, and where nothing
    tells how to read, naming the choices; CheckpointError for fields of the file that are wrong.
    """
    for name in overrides:
        if name not in _STATEMENTS:
            raise ValueError(f"config={{{name!r}: ...}}: no such statement; known are {', '.join(_STATEMENTS)}")
    has_blocks = family.block_length is not None or family.states_reading
    own_block = fields.optional_integer(family.block_field, maximum=MAX_BLOCK) if has_blocks else None
    attention = overrides["attention"] if "attention" in overrides else _attention(fields, family, own_block, around)
    if attention not in ATTENTIONS:
        raise ValueError(f"config attention is {shown(attention)}, expected one of {', '.join(ATTENTIONS)}")
    shifted = overrides.get("shifted", _shifted(fields, family, attention))
    if not isinstance(shifted, bool):
        raise ValueError(f"config shifted is {shown(shifted)}, expected True or False")
    if "mask_token_id" in overrides:
        mask = overrides["mask_token_id"]
        if mask is not None and not _is_integer(mask, 0, vocab_size - 1):
            raise ValueError(
                f"config mask_token_id is {shown(mask)}, expected None or an id from 0 to {vocab_size - 1}"
            )
    else:
        mask = _mask(fields, family, attention, vocab_size, around)
    if mask is None and attention != "causal":
        raise ValueError(
            f"{fields.source}: {attention} attention needs a mask token, and the files name none: state it with"
            ' config={"mask_token_id": ...}'
        )
    block = _block(fields, family, overrides, attention, own_block)
    return {
        "attention": attention,
        "shifted": shifted,
        "mask_token_id": mask,
        "block_length": block,
        "sub_block_length": _sub_block(family, block),
    }


def _attention(fields: Fields, family: Family, own_block: int | None, around: Surroundings) -> str:
    if family.states_reading:
        return fields.text("attention", family.attention)
    if family.attention:
        return family.attention
    names = _names(fields, around)
    if fields.text("model_type").startswith("sdar"):
        is_strided = own_block in _STRIDED_BLOCKS or "idlm" in names or "i-dlm" in names
        return "causal" if is_strided else "block_causal"
    if "bd3lm" in names or own_block is not None:
        return "block_causal"
    if "mdlm" in names:
        return "full"
    raise ValueError(
        f"{fields.source}: nothing tells whether this {fields.text('model_type')} was trained with full attention (mdlm)"
        ' or in blocks (bd3lm): state config={"attention": "full"} or'
        ' config={"attention": "block_causal", "block_length": ...}'
    )


def _names(fields: Fields, around: Surroundings) -> str:
    """What the model is called, in lower case: its folder, its repository, its classes."""
    classes = fields.raw.get("architectures")
    given = [*around.names, fields.raw.get("_name_or_path"), *(classes if isinstance(classes, list) else [])]
    return " ".join(name.rstrip("/").rpartition("/")[2] for name in given if isinstance(name, str)).lower()


def _shifted(fields: Fields, family: Family, attention: str) -> bool:
    """Unless a family differs, causal models speak for the next position and the others for their own."""
    if family.states_reading and fields.has("shifted"):
        return fields.flag("shifted", True)
    return attention == "causal" if family.shifted is None else family.shifted


def _mask(fields: Fields, family: Family, attention: str, vocab_size: int, around: Surroundings) -> int | None:
    is_plain = family.attention == "causal" and not family.states_reading
    if attention == "causal" and is_plain and not around.has_adapter:
        return None
    if fields.has("mask_token_id"):
        mask = fields.token_id("mask_token_id")
        if mask is not None and mask >= vocab_size:
            raise fields.error("mask_token_id", f"an id below vocab_size, {vocab_size}")
        return mask
    if family.mask_token_id is not None:
        if family.mask_token_id >= vocab_size:
            raise ValueError(
                f"{fields.source}: names no mask token, and the family's, {family.mask_token_id}, is outside the"
                f' vocabulary of {vocab_size}: state it with config={{"mask_token_id": ...}}'
            )
        return family.mask_token_id
    found = None if family.states_reading or around.tokenizer_mask is None else around.tokenizer_mask()
    return found if found is not None and found < vocab_size else None


def _block(
    fields: Fields, family: Family, overrides: Mapping[str, Any], attention: str, own_block: int | None
) -> int | None:
    if attention == "block_causal":
        block = overrides.get("block_length", own_block or family.block_length)
        if not _is_integer(block, 1, MAX_BLOCK):
            raise ValueError(
                f"config block_length is {shown(block)}, expected an integer from 1 to {MAX_BLOCK}, as attention is"
                " block_causal"
            )
        return int(block)
    if overrides.get("block_length") is not None:
        block = shown(overrides["block_length"])
        raise ValueError(f"config block_length is {block}, but attention is {attention}, not block_causal")
    if family.states_reading and own_block is not None and "attention" not in overrides:
        raise fields.error(family.block_field, f"null, as attention is {attention}")
    return None


def _sub_block(family: Family, block: int | None) -> int | None:
    """The family's own where it divides the block, else the block as a whole."""
    if family.sub_block_length is None or block is None:
        return None
    return block if block % family.sub_block_length else family.sub_block_length


def _is_integer(value: Any, minimum: int, maximum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
