"""Chat templates: found in chat_template.jinja, tokenizer_config.json or chat_template.json, in this order.

tokenizer_config.json holds one template, or a list of {"name", "template"}; of named ones "tool_use" is taken when
tools are given, "default" otherwise, as in transformers.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foresight.checkpoint.fields import shown
from foresight.checkpoint.files import read_bytes
from foresight.checkpoint.json_limits import load_object
from foresight.checkpoint.tokenizer import special_tokens
from foresight.errors import CheckpointError

if TYPE_CHECKING:
    import jinja2

__all__ = ["ChatTemplate", "load_chat_template"]

_MAX_TEMPLATE = 1 << 18
_MAX_DEPTH = 48


class ChatTemplate:
    """The templates of one checkpoint, compiled when first used."""

    def __init__(self, templates: Mapping[str, str], special: Mapping[str, str], source: str) -> None:
        self.templates = dict(templates)
        self.special = dict(special)
        self.source = source
        self._compiled: dict[str, jinja2.Template] = {}
        self._lock = threading.Lock()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        name: str | None = None,
        **variables: Any,
    ) -> str:
        """The text of a conversation, ready to be tokenized without special tokens.

        `variables` are whatever else the template reads. Raises CheckpointError when the template is broken or takes
        too much time or memory; ValueError when it refuses the messages, and for a name that does not exist;
        TypeError for messages that are not plain data.
        """
        from jinja2.exceptions import TemplateError

        from foresight.checkpoint.meter import LimitError, budget

        chosen = self._choose(name, tools is not None)
        template = self._template(chosen)
        values = {**self.special, **variables, "messages": list(messages), "tools": tools}
        data, size = _plain({**values, "add_generation_prompt": add_generation_prompt}, 0)
        pieces: list[str] = []
        try:
            with budget(size) as meter:
                room = meter.max_size
                for piece in template.generate(**data):
                    room -= len(piece)
                    if room < 0:
                        raise LimitError(f"it writes more than {meter.max_size} characters")
                    meter.charge(len(piece))
                    pieces.append(piece)
        except (LimitError, RecursionError, MemoryError) as error:
            raise CheckpointError(f"{self.source}: the chat template is stopped: {error}") from error
        except TemplateError as error:
            raise ValueError(f"{self.source}: the chat template refuses: {error}") from error
        except Exception as error:
            raise ValueError(
                f"{self.source}: the chat template fails on this conversation: {type(error).__name__}: {error}"
            ) from error
        return "".join(pieces)

    def _choose(self, name: str | None, with_tools: bool) -> str:
        if name is None:
            name = "tool_use" if with_tools and "tool_use" in self.templates else "default"
        if name not in self.templates:
            known = ", ".join(sorted(self.templates))
            raise ValueError(f"{self.source}: no chat template {shown(name)}; there are: {known}")
        return name

    def _template(self, name: str) -> jinja2.Template:
        from foresight.checkpoint.sandbox import TemplateEnvironment

        with self._lock:
            if name not in self._compiled:
                try:
                    self._compiled[name] = TemplateEnvironment().from_string(self.templates[name])
                except (Exception, RecursionError) as error:
                    raise CheckpointError(
                        f"{self.source}: the chat template cannot be compiled: {shown(str(error))}"
                    ) from error
            return self._compiled[name]


def load_chat_template(folder: Path) -> ChatTemplate | None:
    """The chat templates of a checkpoint folder, None where it has none.

    They are compiled only when used. Raises CheckpointError for files of the wrong form or size.
    """
    for name in ("chat_template.jinja", "tokenizer_config.json", "chat_template.json"):
        path = folder / name
        if not path.exists():
            continue
        if name.endswith(".jinja"):
            value: Any = _decode(read_bytes(path, _MAX_TEMPLATE), path)
        else:
            value = load_object(path).get("chat_template")
        if value is not None:
            return ChatTemplate(_by_name(value, path), special_tokens(folder), str(path))
    return None


def _decode(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: is not UTF-8: {error}") from error


def _by_name(value: Any, path: Path) -> dict[str, str]:
    entries = [{"name": "default", "template": value}] if isinstance(value, str) else value
    if not isinstance(entries, list) or not entries:
        raise CheckpointError(f"{path}: chat_template is {shown(value)}, expected a text or a list of named ones")
    templates = {}
    for entry in entries:
        name, text = (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(text, str):
            raise CheckpointError(f"{path}: chat_template has {shown(entry)}, expected a name and a template")
        if len(text) > _MAX_TEMPLATE:
            raise CheckpointError(f"{path}: chat_template of {len(text)} characters, expected at most {_MAX_TEMPLATE}")
        templates[name] = text
    return templates


def _plain(value: Any, depth: int) -> tuple[Any, int]:
    """A copy made of plain JSON types only, so that the template can call nothing of the caller's, and its size."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"messages nested more than {_MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return value, 1
    if isinstance(value, str):
        return str.__str__(value), len(value)
    if isinstance(value, int):
        return int(value), value.bit_length() // 3 + 1
    if isinstance(value, float):
        return float(value), 8
    if isinstance(value, Mapping):
        items = [(_plain(key, depth + 1), _plain(item, depth + 1)) for key, item in value.items()]
        return {key[0]: item[0] for key, item in items}, sum(key[1] + item[1] for key, item in items)
    if isinstance(value, (list, tuple)):
        parts = [_plain(item, depth + 1) for item in value]
        return [part[0] for part in parts], sum(part[1] for part in parts)
    raise TypeError(f"a chat is made of text, numbers, lists and dicts, got {type(value).__name__}")
