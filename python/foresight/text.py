"""Text in, text out: complete and chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foresight.call import Call, LoadedModel
from foresight.checkpoint import ChatTemplate, Tokenizer
from foresight.streaming import run

__all__ = ["chat", "complete", "encode_chat", "encode_texts", "need_tokenizer"]


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


def _answers(model: LoadedModel, prompts: list[list[int]], one: bool, options: dict[str, Any]) -> Any:
    """The new text of each prompt; of each sequence, side by side, with num_return_sequences."""
    for name in ("inputs", "input_ids", "attention_mask", "return_dict_in_generate"):
        if name in options:
            raise TypeError(f"{name} does not go with text; use lm.generate")
    streamer = options.pop("streamer", None)
    call = Call(model, prompts, fill_context=True, return_dict_in_generate=True, **options)
    output = run(call, streamer)
    texts: list[str] = output.texts
    return texts[0] if one and len(texts) == 1 else texts
