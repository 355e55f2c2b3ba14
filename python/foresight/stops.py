"""What ends a sequence besides eos and length: stop strings and the user's own criteria.

Both are checked for every emitted token, in order, so that a step that emits several ends at the first
token that says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foresight.processors import as_list, to_user, wants_torch

__all__ = ["Stops", "TokenBytes"]

Scores = Callable[[int], tuple[npt.NDArray[np.float32], ...]]


class Stops:
    """The checks of one call; `any` tells whether there is one.

    stop_strings: as in transformers a sequence ends at the token that completes one, wherever in that
    token the string ends; its beginning may lie in the prompt. criteria: called with ids int64
    [1, length] and the scores of all new tokens (a tuple of [1, vocab], None unless they are returned);
    any true value ends the sequence.
    """

    def __init__(self, stop_strings: Any, tokenizer: Any, criteria: Any, torch_inputs: bool) -> None:
        texts = [stop_strings] if isinstance(stop_strings, str) else list(stop_strings or ())
        self._stop_strings = [text.encode() for text in texts]
        if texts and tokenizer is None:
            raise ValueError("stop_strings need a tokenizer, and the checkpoint has none: pass tokenizer=")
        self._token_bytes = TokenBytes(tokenizer) if texts else None
        self._criteria = [(item, wants_torch(item, torch_inputs)) for item in as_list(criteria, "stopping_criteria")]

    @property
    def any(self) -> bool:
        return bool(self._stop_strings or self._criteria)

    def check(self, tokens: list[int], num_new: int, scores: Scores | None) -> tuple[int, str] | None:
        """(how many of the last `num_new` tokens stay, reason) at the first of them that ends the sequence.

        tokens: prompt and everything emitted. scores: gives those of the first n new tokens.
        """
        for kept in range(1, num_new + 1):
            end = len(tokens) - num_new + kept
            if self._completes_stop_string(tokens, end):
                return kept, "stop_string"
            if any(self._stops(item, torch, tokens[:end], scores, end) for item, torch in self._criteria):
                return kept, "criteria"
        return None

    def _completes_stop_string(self, tokens: Sequence[int], end: int) -> bool:
        if self._token_bytes is None:
            return False
        last = self._token_bytes.get(tokens[end - 1])
        if last is None:
            return False
        longest = max(map(len, self._stop_strings))
        before = b""
        for token in reversed(tokens[max(0, end - longest) : end - 1]):
            text = self._token_bytes.get(token)
            if text is None or len(before) >= longest:
                break
            before = text + before
        return any(text in (before[-(len(text) - 1) :] if len(text) > 1 else b"") + last for text in self._stop_strings)

    @staticmethod
    def _stops(criterion: Callable[..., Any], torch: bool, tokens: list[int], scores: Scores | None, end: int) -> bool:
        ids = to_user(np.asarray([tokens], dtype=np.int64), torch)
        given = None if scores is None else tuple(to_user(row[None], torch) for row in scores(end))
        result = criterion(ids, given)
        return bool(result.any()) if hasattr(result, "any") else bool(result)


class TokenBytes:
    """The bytes that each token adds to a text, as transformers' StopStringCriteria sees them.

    tokenizer: ours, or a fast one of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend: Any = getattr(tokenizer, "backend", None)
        if not hasattr(backend, "id_to_token"):
            backend = getattr(tokenizer, "backend_tokenizer", None)
        if not hasattr(backend, "id_to_token"):
            raise TypeError(
                f"tokenizer= must be lm.tokenizer or a fast tokenizer of transformers, got {type(tokenizer).__name__}"
            )
        self._backend = backend
        self._known: dict[int, bytes | None] = {}
        self._mode = _matching_mode(backend.decoder)
        self._prefix = [backend.id_to_token(i) for i in backend.encode(_PREFIX, add_special_tokens=False).ids]

    def get(self, token: int) -> bytes | None:
        """The bytes of one token, None for an id that the tokenizer does not know."""
        if token not in self._known:
            spelling = self._backend.id_to_token(token)
            self._known[token] = None if spelling is None else self._bytes(spelling)
        return self._known[token]

    def _bytes(self, spelling: str) -> bytes:
        if self._mode == "ByteLevel" and all(char in _BYTE_OF for char in spelling):
            return bytes(_BYTE_OF[char] for char in spelling)
        if self._mode == "ByteFallback" and len(spelling) == 6 and spelling.startswith("<0x"):
            try:
                return bytes([int(spelling[3:5], 16)])
            except ValueError:
                pass
        # After other text, since decoders treat the first token in their own way.
        tokens = [*self._prefix, spelling]
        decoder = self._backend.decoder
        text = " ".join(tokens) if decoder is None else decoder.decode(tokens)
        return str(text.partition(_PREFIX)[2]).encode()


_PREFIX = "abcdef"


def _matching_mode(decoder: Any) -> str | None:
    """Whether tokens spell bytes, told by the decoder's description."""
    if decoder is None:
        return None
    kinds = set(_kinds(json.loads(decoder.__getstate__())))
    return next((kind for kind in ("ByteFallback", "ByteLevel") if kind in kinds), None)


def _kinds(description: Any) -> list[Any]:
    if isinstance(description, dict):
        inner = [kind for value in description.values() for kind in _kinds(value)]
        return [description.get("type"), *inner]
    return [kind for value in description for kind in _kinds(value)] if isinstance(description, list) else []


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in byte-level vocabularies, GPT-2's invention."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
