"""Text in, text out: complete, chat and infill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foresight.call import Call, LoadedModel
from foresight.checkpoint import ChatTemplate, Tokenizer
from foresight.strategies import strategy_for
from foresight.streaming import run

__all__ = ["chat", "complete", "encode_chat", "encode_texts", "infill", "need_tokenizer"]


def need_tokenizer(model: LoadedModel, what: str) -> Tokenizer:
    """The model's tokenizer; ValueError where the checkpoint has none."""
    if model.tokenizer is None:
        raise ValueError(f"{what} needs a tokenizer, and the checkpoint has no tokenizer.json; use token ids")
    return model.tokenizer


def encode_texts(model: LoadedModel, texts: Sequence[str], what: str) -> list[list[int]]:
    """Token ids of texts, special tokens included; ValueError for one that gives none."""
    tokenizer = need_tokenizer(model, what)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{what} takes a text or a list of texts, got {type(text).__name__} in it")
    prompts = [tokenizer.encode(text) for text in texts]
    if not all(prompts):
        raise ValueError(f"{what}: text {prompts.index([])} gives no token, so there is nothing to continue")
    return prompts


def encode_chat(
    model: LoadedModel,
    template: ChatTemplate | None,
    conversations: Sequence[Sequence[Mapping[str, Any]]],
    tools: Any,
    template_kwargs: Mapping[str, Any] | None,
) -> list[list[int]]:
    """Token ids of conversations, laid out by the chat template, ready for the model's answer."""
    tokenizer = need_tokenizer(model, "chat")
    if template is None:
        raise ValueError("the checkpoint has no chat template; lay the prompt out yourself and use lm.complete")
    kwargs = {"add_generation_prompt": True, **(template_kwargs or {})}
    prompts = []
    for messages in conversations:
        if not messages:
            raise ValueError("chat: a conversation without messages")
        text = template.render([dict(message) for message in messages], tools=tools, **kwargs)
        prompts.append(tokenizer.encode(text, add_special_tokens=False))
    return prompts


def complete(model: LoadedModel, text: Any, options: dict[str, Any]) -> Any:
    """What lm.complete returns."""
    one = isinstance(text, str)
    if not one and (not isinstance(text, (list, tuple)) or not text):
        raise TypeError(f"complete takes a text or a non-empty list of texts, got {text!r:.80}")
    return _answers(model, encode_texts(model, [text] if one else text, "complete"), one, options)


def chat(
    model: LoadedModel,
    template: ChatTemplate | None,
    messages: Any,
    tools: Any,
    template_kwargs: Mapping[str, Any] | None,
    options: dict[str, Any],
) -> Any:
    """What lm.chat returns."""
    if not isinstance(messages, (list, tuple)) or not messages:
        raise TypeError(f"chat takes a non-empty list of messages, or a list of such lists, got {messages!r:.80}")
    one = isinstance(messages[0], Mapping)
    conversations = [messages] if one else messages
    for conversation in conversations:
        if not isinstance(conversation, (list, tuple)) or not all(isinstance(m, Mapping) for m in conversation):
            raise TypeError("chat: a message is a mapping such as {'role': 'user', 'content': '...'}")
    return _answers(model, encode_chat(model, template, conversations, tools, template_kwargs), one, options)


def infill(model: LoadedModel, parts: Any, gap_tokens: Any, options: dict[str, Any]) -> Any:
    """What lm.infill returns."""
    if not strategy_for(options.get("decoding"), model.config).writes_canvas:
        raise NotImplementedError(
            f"infill needs a strategy that fills masks in place: {model.config.family} with {model.config.attention}"
            " attention only continues"
        )
    if not isinstance(parts, (list, tuple)) or not parts:
        raise TypeError(f"infill takes a list of texts, or a list of such lists, got {parts!r:.80}")
    one = isinstance(parts[0], str)
    prompts = [_with_gaps(model, texts, gap_tokens) for texts in ([parts] if one else parts)]
    options = {"max_new_tokens": 0, **options}
    _refuse_ids(options)
    tokenizer = need_tokenizer(model, "infill")
    streamer = options.pop("streamer", None)
    sequences = run(Call(model, prompts, **options), streamer)
    filled = [tokenizer.decode(sequence) for sequence in sequences]
    return filled[0] if one and len(filled) == 1 else filled


def _with_gaps(model: LoadedModel, texts: Any, gap_tokens: Any) -> list[int]:
    """Token ids of texts with masks between them."""
    if not isinstance(texts, (list, tuple)) or len(texts) < 2 or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"infill: expected at least two texts with a gap between them, got {texts!r:.80}")
    gaps = list(gap_tokens) if hasattr(gap_tokens, "__iter__") else [gap_tokens] * (len(texts) - 1)
    if len(gaps) != len(texts) - 1 or not all(
        hasattr(gap, "__index__") and not isinstance(gap, bool) and gap >= 1 for gap in gaps
    ):
        raise ValueError(
            f"gap_tokens is {gap_tokens!r}, expected {len(texts) - 1} integers of at least 1, or one for all"
        )
    tokenizer = need_tokenizer(model, "infill")
    mask = model.config.mask_token_id
    assert mask is not None
    ids = tokenizer.encode(texts[0])
    for gap, text in zip(gaps, texts[1:], strict=True):
        ids += [mask] * int(gap) + tokenizer.encode(text, add_special_tokens=False)
    return ids


def _refuse_ids(options: Mapping[str, Any]) -> None:
    for name in ("inputs", "input_ids", "attention_mask", "return_dict_in_generate"):
        if name in options:
            raise TypeError(f"{name} does not go with text; use lm.generate")


def _answers(model: LoadedModel, prompts: list[list[int]], one: bool, options: dict[str, Any]) -> Any:
    """The new text of each prompt; of each sequence, side by side, with num_return_sequences."""
    _refuse_ids(options)
    streamer = options.pop("streamer", None)
    call = Call(model, prompts, fill_context=True, return_dict_in_generate=True, **options)
    output = run(call, streamer)
    texts: list[str] = output.texts
    return texts[0] if one and len(texts) == 1 else texts
