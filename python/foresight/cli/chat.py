"""`foresight chat`: a conversation, typed or piped in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foresight.cli import loading
from foresight.cli.options import (
    CacheBytes,
    Config,
    Debug,
    DoSample,
    Dtype,
    MaxNewTokens,
    Model,
    Revision,
    Seed,
    Settings,
    Temperature,
    Threads,
    merge_options,
    parse_assignments,
    parse_settings,
)
from foresight.cli.screen import Screen

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from foresight.checkpoint import StreamDecoder
    from foresight.lm import LM

_HELP = "/reset forgets the conversation, /exit leaves, Ctrl-C stops an answer"


def chat(
    model: Model,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="A system prompt.")] = None,
    settings: Settings = None,
    max_new_tokens: MaxNewTokens = None,
    do_sample: DoSample = None,
    temperature: Temperature = None,
    seed: Seed = None,
    threads: Threads = None,
    dtype: Dtype = None,
    kv_cache_bytes: CacheBytes = None,
    config: Config = None,
    revision: Revision = None,
    debug: Debug = False,
) -> None:
    """Talk with a model that has a chat template.

    Each line is a message; the model sees the whole conversation. /reset forgets it, /exit (or the
    end of the input) leaves. Lines may be piped in: then only the answers are printed.
    """
    options = merge_options(
        parse_settings(settings, refused=("num_return_sequences",)),
        {
            "max_new_tokens": max_new_tokens,
            "do_sample": do_sample,
            "temperature": temperature,
            "seed": seed,
        },
    )
    lm = loading.load_model(
        model,
        threads=threads,
        dtype=dtype,
        kv_cache_bytes=kv_cache_bytes,
        config=parse_assignments(config, "--config"),
        revision=revision,
    )
    conversation = Conversation(lm, system, options)
    interactive = sys.stdin.isatty()
    if interactive:
        Screen().paragraph(_HELP)
    for message in _messages(interactive):
        if message == "/exit":
            break
        if message == "/reset":
            conversation.reset()
        elif message.startswith("/"):
            typer.echo(f"foresight: no command {message.split()[0]}; {_HELP}", err=True)
        else:
            _answer(conversation, message, interactive)


class Conversation:
    """A model and what was said so far."""

    def __init__(self, lm: LM, system: str | None, options: dict[str, Any]) -> None:
        if lm.tokenizer is None or lm.chat_template is None:
            missing = "tokenizer" if lm.tokenizer is None else "chat template"
            raise ValueError(f"chatting needs a {missing}, and this checkpoint has none")
        self.lm = lm
        self.tokenizer = lm.tokenizer
        self.options = options
        self._beginning = [] if system is None else [{"role": "system", "content": system}]
        self.messages = list(self._beginning)

    def reset(self) -> None:
        """Forget everything but the system prompt."""
        self.messages = list(self._beginning)

    def ask(self, message: str, show: Callable[[str], None]) -> None:
        """Say `message` and show the answer as it comes; what has come belongs to the conversation."""
        asked = [*self.messages, {"role": "user", "content": message}]
        answer = _Streamer(self.tokenizer.stream(), show)
        try:
            self.lm.chat(asked, streamer=answer, **self.options)
        finally:
            if answer.text:
                self.messages = [*asked, {"role": "assistant", "content": answer.text}]


class _Streamer:
    """Turns the tokens that generate() hands out into text; the first thing it hands out is the prompt."""

    def __init__(self, decoder: StreamDecoder, show: Callable[[str], None]) -> None:
        self.text = ""
        self._decoder = decoder
        self._show = show
        self._started = False

    def put(self, ids: npt.NDArray[np.int64]) -> None:
        if self._started:
            self._add(self._decoder.put(ids.tolist()))
        self._started = True

    def end(self) -> None:
        self._add(self._decoder.end())

    def _add(self, text: str) -> None:
        self.text += text
        self._show(text)


def _messages(interactive: bool) -> Iterator[str]:
    """Lines from the keyboard or from stdin, without blank ones."""
    if interactive:
        import readline  # noqa: F401  (gives input() its line editing)
    while True:
        if interactive:
            try:
                line = input("> ")
            except EOFError:
                typer.echo()
                return
        else:
            line = sys.stdin.readline()
            if not line:
                return
        if line.strip():
            yield line.strip()


def _answer(conversation: Conversation, message: str, interactive: bool) -> None:
    """Print the answer as it comes. At a terminal, Ctrl-C and errors end the answer, not the chat."""
    try:
        conversation.ask(message, lambda text: typer.echo(text, nl=False))
        typer.echo()
    except KeyboardInterrupt:
        if not interactive:
            raise
        typer.echo("\n(stopped)")
    except (ValueError, MemoryError) as error:
        if not interactive:
            raise
        typer.echo(f"foresight: error: {error}", err=True)
