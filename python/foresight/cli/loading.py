"""How commands come by a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foresight.lm import LM


def load_model(
    model: str,
    *,
    threads: int | None = None,
    dtype: str | None = None,
    kv_cache_bytes: int | None = None,
    config: Mapping[str, Any] | None = None,
    revision: str | None = None,
) -> LM:
    """Load `model`: a folder, a hub id or bundled:NAME."""
    from foresight.lm import LM

    return LM.from_pretrained(
        model,
        dtype=dtype or "auto",
        num_threads=threads,
        kv_cache_bytes=kv_cache_bytes,
        config=config or None,
        revision=revision,
    )


def encode_messages(lm: LM, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """The prompt that asks for the next message of a conversation."""
    if lm.chat_template is None or lm.tokenizer is None:
        raise ValueError("messages need a chat template, and this checkpoint has none")
    return lm.tokenizer.encode(lm.chat_template.render(messages), add_special_tokens=False)
