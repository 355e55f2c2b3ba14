"""tokenizer.json, through the `tokenizers` library, behind checks that keep a hostile file from hanging or crashing it.

The file decides what is added around a text, as in transformers; tokenizer_config.json (or special_tokens_map.json)
names the special tokens. Padding and truncation that a file may ask for are switched off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from foresight.checkpoint.fields import shown
from foresight.checkpoint.files import MEBIBYTE, read_bytes
from foresight.checkpoint.json_limits import load_object, parse_json
from foresight.errors import CheckpointError

if TYPE_CHECKING:
    import tokenizers

__all__ = ["StreamDecoder", "Tokenizer", "load_tokenizer", "special_tokens"]

_MAX_BYTES = 100 * MEBIBYTE
_MAX_ITEMS = 20_000_000
_MAX_COMPONENT_ITEMS = 20_000
_MAX_PATTERN = 65_536
_MAX_GROWTH = 65_536
_MAX_HELD = 32  # tokens that a StreamDecoder holds back for one character
_COMPONENTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

T = TypeVar("T")


class Tokenizer:
    """Text to token ids and back, with the ids of the special tokens (None where there is none)."""

    def __init__(self, backend: tokenizers.Tokenizer, special: Mapping[str, str], source: str) -> None:
        self.backend = backend
        self.special = dict(special)
        self.source = source
        self.bos_token_id = self._special_id("bos_token")
        self.eos_token_id = self._special_id("eos_token")
        self.pad_token_id = self._special_id("pad_token")
        self.mask_token_id = self._special_id("mask_token")

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, added ones included."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text; CheckpointError when the tokenizer's own rules fail on it."""
        if not isinstance(text, str):
            raise TypeError(f"expected text, got {type(text).__name__}")
        encoding = _guarded(lambda: self.backend.encode(text, add_special_tokens=add_special_tokens), self.source)
        return list(encoding.ids)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of token ids; ids without a token are left out."""
        plain = [int(i) for i in ids]
        if plain and not 0 <= min(plain) <= max(plain) < 2**32:
            raise ValueError(f"token ids from {min(plain)} to {max(plain)}, expected natural numbers below 2**32")
        return _guarded(lambda: str(self.backend.decode(plain, skip_special_tokens=skip_special_tokens)), self.source)

    def vocabulary(self) -> dict[str, int]:
        """Every token, in the tokenizer's own spelling, and its id."""
        return dict(self.backend.get_vocab(with_added_tokens=True))

    def token_id(self, token: str) -> int | None:
        """The id of one token in the tokenizer's own spelling."""
        return self.backend.token_to_id(token)

    def token(self, token_id: int) -> str | None:
        """The tokenizer's own spelling of one id."""
        return self.backend.id_to_token(token_id) if 0 <= token_id < 2**32 else None

    def stream(self, skip_special_tokens: bool = True) -> StreamDecoder:
        """A decoder for ids that arrive one after the other."""
        return StreamDecoder(self, skip_special_tokens)

    def _special_id(self, name: str) -> int | None:
        token = self.special.get(name)
        return None if token is None else self.token_id(token)


class StreamDecoder:
    """Turns ids that arrive in pieces into text: what it hands out is final, incomplete characters are held back.

    The pieces together are the text that `decode` gives for all ids at once.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip = skip_special_tokens
        self._ids: list[int] = []
        self._context = 0  # ids before are no longer needed
        self._read = 0  # ids before have been handed out

    def put(self, ids: int | Sequence[int]) -> str:
        """Adds ids and returns the text that became final, often empty."""
        self._ids.extend([ids] if isinstance(ids, int) else ids)
        held = len(self._ids) - self._read
        text = self._new_text()
        if not text or (text.endswith("\ufffd") and held < _MAX_HELD):
            return ""
        self._advance()
        return text

    def end(self) -> str:
        """Returns what was held back; the decoder then starts anew."""
        text = self._new_text()
        self._ids, self._context, self._read = [], 0, 0
        return text

    def _new_text(self) -> str:
        """The text after what has been handed out. The ids just before are decoded along, since a decoder may treat
        the first token of a text in its own way.
        """
        before = self._tokenizer.decode(self._ids[self._context : self._read], self._skip)
        after = self._tokenizer.decode(self._ids[self._context :], self._skip)
        return after[len(before) :]

    def _advance(self) -> None:
        del self._ids[: self._context]
        self._context, self._read = self._read - self._context, len(self._ids)


def special_tokens(folder: Path) -> dict[str, str]:
    """The special tokens that tokenizer_config.json names, or special_tokens_map.json where it does not exist."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        if not path.exists():
            continue
        settings = load_object(path)
        tokens = {}
        for role in _SPECIAL:
            value = settings.get(role)
            if isinstance(value, dict):
                value = value.get("content")
            if isinstance(value, str):
                tokens[role] = value
            elif value is not None:
                raise CheckpointError(f"{path}: {role} is {shown(value)}, expected a token")
        return tokens
    return {}


def load_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a checkpoint folder, None where it has no tokenizer.json.

    Raises CheckpointError for a file that is broken, too large, or built to explode.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        return None
    data = read_bytes(path, _MAX_BYTES)
    _check(parse_json(data, str(path), max_items=_MAX_ITEMS), str(path))
    special = special_tokens(folder)
    import tokenizers

    def build() -> tokenizers.Tokenizer:
        backend = tokenizers.Tokenizer.from_buffer(data)
        backend.no_padding()
        backend.no_truncation()
        return backend

    return Tokenizer(_guarded(build, str(path)), special, str(path))


def _guarded(call: Callable[[], T], source: str) -> T:
    """The call's result; what goes wrong inside the library is a CheckpointError. A panic of its Rust code derives
    from BaseException only.
    """
    try:
        return call()
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:
        raise CheckpointError(f"{source}: the tokenizers library refuses it: {shown(str(error))}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(f"{source}: the tokenizers library fails on it: {shown(str(error))}") from error


def _check(content: Any, source: str) -> None:
    """Bounds what the file can make the library do: size of each component, length of patterns, growth of a text."""
    if not isinstance(content, dict):
        raise CheckpointError(f"{source}: holds a JSON {type(content).__name__}, expected an object")
    for name in _COMPONENTS:
        growth = 1.0
        for count, node in enumerate(_nodes(content.get(name))):
            if count >= _MAX_COMPONENT_ITEMS:
                raise CheckpointError(f"{source}: {name} has more than {_MAX_COMPONENT_ITEMS} items")
            if isinstance(node, dict):
                growth *= _growth(node)
                pattern = node.get("pattern")
                text = next(iter(pattern.values()), "") if isinstance(pattern, dict) else pattern
                if isinstance(text, str) and len(text) > _MAX_PATTERN:
                    raise CheckpointError(
                        f"{source}: {name} has a pattern of {len(text)} characters, expected at most {_MAX_PATTERN}"
                    )
        if growth > _MAX_GROWTH:
            raise CheckpointError(
                f"{source}: {name} can make a text {growth:.3g} times longer, expected at most {_MAX_GROWTH}"
            )


def _nodes(root: Any) -> Iterator[Any]:
    """Every value inside a JSON value, itself included."""
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, dict):
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _growth(node: Mapping[str, Any]) -> float:
    """How many times longer one component can make a text, in bytes."""
    kind = node.get("type")
    if kind == "ByteLevel":
        return 2.0
    if kind == "Precompiled":
        return 16.0
    if kind == "TemplateProcessing":
        parts = (node.get("single"), node.get("pair"))
        return float(max([1, *(len(part) for part in parts if isinstance(part, list))]))
    content = node.get("content")
    if kind != "Replace" or not isinstance(content, str):
        return 1.0
    pattern = node.get("pattern")
    literal = pattern.get("String") if isinstance(pattern, dict) else None
    if isinstance(literal, str) and literal:
        return max(1.0, len(content.encode("utf-8", "replace")) / len(literal.encode("utf-8", "replace")))
    return math.inf if len(content) > _MAX_GROWTH else float(len(content.encode("utf-8", "replace")) + 1)
