"""Prompts in, sequences out: lists, numpy arrays, torch tensors and whatever else speaks DLPack.

torch is only touched where the caller has passed a tensor, and so has imported it.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Prompts", "as_numpy", "check_token_types", "parse_prompts", "parse_token_lists"]

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prompts:
    """The prompts of a call, and the kind of result they ask for.

    tokens: without padding. kind: "one" (a flat list), "lists", "numpy" or "torch".
    array: int64 [prompts, width] as it came, padding included. device: torch's, for results.
    """

    tokens: list[list[int]]
    kind: Literal["one", "lists", "numpy", "torch"]
    array: Ids | None = None
    device: Any = None

    def __len__(self) -> int:
        return len(self.tokens)

    def padding(self, prompt: int) -> int:
        """How many columns of padding stand before a prompt."""
        return 0 if self.array is None else self.array.shape[1] - len(self.tokens[prompt])

    def only(self, prompt: int) -> Prompts:
        """One prompt alone; it asks for the kind of result that it would give by itself."""
        if self.array is None:
            return replace(self, tokens=[self.tokens[prompt]], kind="one")
        return replace(self, tokens=[self.tokens[prompt]], array=self.array[prompt : prompt + 1])

    def sequences(
        self,
        new_tokens: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        pad_token_id: int,
        mask_token_id: int | None = None,
    ) -> Any:
        """What generate returns: each prompt with its new tokens, which follow it or take the places of masks.

        new_tokens, positions (in the unpadded sequence): one list per sequence, those of a prompt side by side.
        mask_token_id: of masks that were filled in; those that an eos has left open at the end are cut off.
        """
        repeats = len(new_tokens) // len(self.tokens)
        filled = [
            _fill(self.tokens[i // repeats], new, places, mask_token_id)
            for i, (new, places) in enumerate(zip(new_tokens, positions, strict=True))
        ]
        if self.array is None:
            return filled[0] if self.kind == "one" and repeats == 1 else filled
        width = self.array.shape[1]
        longest = max(width, *(self.padding(i // repeats) + len(tokens) for i, tokens in enumerate(filled)))
        result = np.full((len(filled), longest), pad_token_id, dtype=np.int64)
        result[:, :width] = np.repeat(self.array, repeats, axis=0)
        for i, (row, tokens) in enumerate(zip(result, filled, strict=True)):
            start = self.padding(i // repeats)
            row[start : start + len(tokens)] = tokens
            row[start + len(tokens) :] = pad_token_id
        return self.like(result)

    def like(self, array: npt.NDArray[Any]) -> Any:
        """An array as the caller's kind of array; numpy for lists."""
        if self.kind != "torch":
            return array
        return sys.modules["torch"].from_numpy(np.ascontiguousarray(array)).to(self.device)


def _fill(
    prompt: Sequence[int], new_tokens: Sequence[int], positions: Sequence[int], mask_token_id: int | None
) -> list[int]:
    """The prompt with new tokens at ascending positions, some of them after its end."""
    sequence = list(prompt)
    for token, position in zip(new_tokens, positions, strict=True):
        if position < len(prompt):
            sequence[position] = token
        else:
            sequence.append(token)
    while mask_token_id is not None and sequence[-1] == mask_token_id and len(sequence) - 1 not in positions:
        sequence.pop()
    return sequence


def parse_prompts(
    inputs: Any,
    attention_mask: Any = None,
    *,
    vocab_size: int,
    pad_token_id: int | None = None,
) -> Prompts:
    """Reads the prompts of a call.

    inputs: list[int], list[list[int]] (ragged), an integer array [prompts, width], or a mapping such as
    BatchEncoding with input_ids and attention_mask. attention_mask: of the same shape, 1 for tokens and
    0 for padding on the left. pad_token_id: given when a row that begins with it must be padding.
    Raises TypeError for text and for things that are no token ids, ValueError for empty prompts, ids
    outside the vocabulary, wrong ranks, and masks that do not fit.
    """
    if isinstance(inputs, Mapping) or (hasattr(inputs, "keys") and "input_ids" in inputs):
        inputs, attention_mask = _open_mapping(inputs, attention_mask)
    if inputs is None:
        raise ValueError("no prompts: pass token ids as inputs or input_ids")
    if isinstance(inputs, (str, bytes)) or _holds_text(inputs):
        raise TypeError("generate takes token ids; for text use lm.complete(text) or lm.chat(messages)")
    if isinstance(inputs, np.ndarray) or hasattr(inputs, "__dlpack__"):
        prompts = _from_array(inputs, attention_mask, pad_token_id)
    else:
        prompts = _from_lists(inputs, attention_mask)
    for i, tokens in enumerate(prompts.tokens):
        _check_tokens(tokens, vocab_size, f"prompt {i}")
    return prompts


def parse_token_lists(values: Any, *, vocab_size: int, what: str, allow_empty: bool = False) -> list[list[int]]:
    """Reads lists of token ids [[ids], ...]; a numpy or torch array [n, length] counts as one."""
    if isinstance(values, np.ndarray) or hasattr(values, "__dlpack__"):
        array = as_numpy(values)
        _check_integers(array, what)
        values = array.tolist()
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(f"{what} must be lists of token ids, got {type(values).__name__}")
    lists = [_integers(value, f"{what}[{i}]") for i, value in enumerate(values)]
    for i, tokens in enumerate(lists):
        if tokens or not allow_empty:
            _check_tokens(tokens, vocab_size, f"{what}[{i}]")
    return lists


def check_token_types(token_type_ids: Any) -> None:
    """Tokenizers may add token_type_ids, all zero; anything else in them would mean something."""
    if token_type_ids is None:
        return
    types = token_type_ids if isinstance(token_type_ids, list) else as_numpy(token_type_ids).tolist()
    if any(any(row) if isinstance(row, list) else row for row in types):
        raise NotImplementedError("token_type_ids other than zero: causal language models have no token types")


def as_numpy(value: Any) -> npt.NDArray[Any]:
    """A numpy array of the same values; a view where they lie in this machine's memory."""
    if isinstance(value, np.ndarray):
        return value
    if _is_torch(value):
        return np.asarray(value.detach().cpu().numpy())
    return np.asarray(np.from_dlpack(value))


def _is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _holds_text(inputs: Any) -> bool:
    return isinstance(inputs, (list, tuple)) and any(isinstance(item, (str, bytes)) for item in inputs)


def _open_mapping(inputs: Any, attention_mask: Any) -> tuple[Any, Any]:
    fields = dict(inputs)
    ids = fields.pop("input_ids", None)
    mask = fields.pop("attention_mask", None)
    check_token_types(fields.pop("token_type_ids", None))
    if fields:
        raise ValueError(f"inputs hold {', '.join(map(repr, fields))}; only input_ids and attention_mask are used")
    if mask is not None and attention_mask is not None:
        raise ValueError("attention_mask is given twice: in inputs and by itself")
    return ids, attention_mask if mask is None else mask


def _from_array(inputs: Any, attention_mask: Any, pad_token_id: int | None) -> Prompts:
    array = as_numpy(inputs)
    _check_integers(array, "inputs")
    if array.ndim != 2:
        raise ValueError(f"inputs have shape {list(array.shape)}, expected [prompts, length]")
    if 0 in array.shape:
        raise ValueError(f"inputs of shape {list(array.shape)} hold no tokens")
    array = np.array(array, dtype=np.int64)
    if attention_mask is None:
        _refuse_unmasked_padding(array, pad_token_id)
        lengths = np.full(len(array), array.shape[1])
    else:
        speaks_dlpack = hasattr(attention_mask, "__dlpack__")
        mask = as_numpy(attention_mask) if speaks_dlpack else np.asarray(attention_mask)
        lengths = _masked_lengths(mask, array.shape)
    tokens = [row[len(row) - n :].tolist() for row, n in zip(array, lengths.tolist(), strict=True)]
    if _is_torch(inputs):
        return Prompts(tokens, "torch", array, inputs.device)
    return Prompts(tokens, "numpy", array)


def _check_integers(array: npt.NDArray[Any], what: str) -> None:
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{what} have dtype {array.dtype}, expected integer token ids")


def _refuse_unmasked_padding(array: Ids, pad_token_id: int | None) -> None:
    if pad_token_id is None:
        return
    padded = array[:, 0] == pad_token_id
    if padded.any() and not padded.all():
        row = int(np.flatnonzero(padded)[0])
        raise ValueError(
            f"row {row} begins with the padding token {pad_token_id}: pass attention_mask"
            " (all ones where it is part of the prompt)"
        )


def _masked_lengths(mask: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    if mask.shape != shape:
        raise ValueError(f"attention_mask has shape {list(mask.shape)}, the inputs {list(shape)}")
    kept = mask.astype(bool)
    if not np.array_equal(kept, mask):
        raise ValueError("attention_mask must hold only 0 and 1")
    for i, row in enumerate(kept):
        if not row.any():
            raise ValueError(f"attention_mask leaves nothing of prompt {i}")
        if not row[-1]:
            raise ValueError(
                f"prompt {i} is padded on the right, where new tokens go: pad on the left"
                " (tokenizer.padding_side = 'left')"
            )
        if not row[int(row.argmax()) :].all():
            raise ValueError(f"attention_mask has a hole in prompt {i}: only padding on the left is possible")
    lengths: Ids = kept.sum(axis=1, dtype=np.int64)
    return lengths


def _from_lists(inputs: Any, attention_mask: Any) -> Prompts:
    if not hasattr(inputs, "__iter__"):
        raise TypeError(f"inputs must be token ids (lists, numpy or torch), got {type(inputs).__name__}")
    items = list(inputs)
    if not items:
        raise ValueError("no prompts: the list is empty")
    one = not hasattr(items[0], "__iter__")
    lists = [_integers(items, "inputs")] if one else [_integers(x, f"prompt {i}") for i, x in enumerate(items)]
    if attention_mask is None:
        return Prompts(lists, "one" if one else "lists")
    masks = [attention_mask] if one else list(attention_mask)
    if len(masks) != len(lists):
        raise ValueError(f"attention_mask has {len(masks)} rows for {len(lists)} prompts")
    tokens = []
    for i, (ids, mask) in enumerate(zip(lists, masks, strict=True)):
        row = np.asarray(mask)
        if row.shape != (len(ids),):
            raise ValueError(f"attention_mask of prompt {i} has shape {list(row.shape)}, expected [{len(ids)}]")
        length = int(_masked_lengths(row[None], (1, len(ids)))[0]) if ids else 0
        tokens.append(ids[len(ids) - length :])
    return Prompts(tokens, "one" if one else "lists")


def _integers(values: Any, what: str) -> list[int]:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(f"{what} must be a list of token ids, got {type(values).__name__}")
    items = values.tolist() if hasattr(values, "tolist") else list(values)
    if all(type(item) is int for item in items):
        return items
    result = []
    for item in items:
        if isinstance(item, bool) or not hasattr(item, "__index__"):
            raise TypeError(f"{what} holds {item!r}, expected token ids")
        result.append(operator.index(item))
    return result


def _check_tokens(tokens: list[int], vocab_size: int, what: str) -> None:
    if not tokens:
        raise ValueError(f"{what} is empty: there is nothing to continue")
    if min(tokens) < 0 or max(tokens) >= vocab_size:
        place = next(j for j, token in enumerate(tokens) if not 0 <= token < vocab_size)
        raise ValueError(
            f"{what} holds token id {tokens[place]} at place {place}; the vocabulary has ids 0 to {vocab_size - 1}"
        )
