"""`foresight chat`, with lines piped in and at a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from foresight.cli import loading, main
from support.fake_lm import FakeLM
from support.terminal import Terminal


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> FakeLM:
    fake = FakeLM()
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: fake)
    return fake


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Answers input() with texts, raises what is an exception, and ends the input."""

    def prepare(*lines: str | BaseException) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal())
        waiting = [*lines, EOFError()]

        def ask(prompt: str) -> str:
            assert prompt == "> "
            line = waiting.pop(0)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", ask)

    return prepare


def prompts(lm: FakeLM) -> list[str]:
    assert lm.tokenizer is not None
    return [lm.tokenizer.decode(call["inputs"][0]) for call in lm.calls]


def test_every_line_is_a_message_and_the_model_sees_them_all(
    lm: FakeLM, pipe: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    pipe("a=1\n\n  b=2  \n")
    assert main(["chat", "m"]) == 0
    assert prompts(lm) == ["a=1\n", "a=1\n\n1=a\nb=2\n"]
    assert capsys.readouterr().out == "\n1=a\n\n2=b\na=1\n\n1=a\n"


def test_system_prompt_reset_and_exit(lm: FakeLM, pipe: Callable[[str], None]) -> None:
    pipe("a\n/reset\nb\n/exit\nc\n")
    assert main(["chat", "m", "--system", "x"]) == 0
    assert prompts(lm) == ["x\na\n", "x\nb\n"]


def test_an_unknown_command_says_what_there_is(
    lm: FakeLM, pipe: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    pipe("/quit now\n")
    assert main(["chat", "m"]) == 0
    error = capsys.readouterr().err
    assert "/quit" in error
    assert "/exit" in error
    assert lm.calls == []


def test_options_reach_the_model(lm: FakeLM, pipe: Callable[[str], None]) -> None:
    pipe("a\n")
    words = ["--max-new-tokens", "3", "--do-sample", "--temperature", "0.5", "--seed", "4", "--set", "top_k=5"]
    assert main(["chat", "m", *words]) == 0
    (call,) = lm.calls
    expected = {"max_new_tokens": 3, "do_sample": True, "temperature": 0.5, "seed": 4, "top_k": 5}
    assert {key: call[key] for key in expected} == expected


@pytest.mark.parametrize("missing", ["chat_template", "tokenizer"])
def test_a_model_that_cannot_chat(
    missing: str, lm: FakeLM, pipe: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    setattr(lm, missing, None)
    pipe("a\n")
    assert main(["chat", "m"]) == 1
    assert missing.replace("_", " ") in capsys.readouterr().err


def test_several_sequences_make_no_chat(lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "m", "--set", "num_return_sequences=2"]) == 2
    assert "num_return_sequences" in capsys.readouterr().err


def test_an_error_ends_a_piped_chat(
    lm: FakeLM, pipe: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    lm.before = failing(ValueError("too long"))
    pipe("a\nb\n")
    assert main(["chat", "m"]) == 1
    assert capsys.readouterr().err == "foresight: error: too long\n"
    assert len(lm.calls) == 1


def test_an_error_at_a_terminal_ends_the_answer_only(
    lm: FakeLM, type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    lm.before = failing(ValueError("too long"))
    type_in("a", "b")
    assert main(["chat", "m"]) == 0
    assert capsys.readouterr().err == "foresight: error: too long\n" * 2
    assert prompts(lm) == ["a\n", "b\n"]


def test_ctrl_c_stops_the_answer_and_at_the_prompt_the_chat(
    lm: FakeLM, type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    lm.before = failing(KeyboardInterrupt())
    type_in("a", "b", KeyboardInterrupt())
    assert main(["chat", "m"]) == 130
    captured = capsys.readouterr()
    assert captured.out.count("(stopped)") == 2
    assert captured.err == "foresight: interrupted\n"


def test_what_was_written_before_ctrl_c_belongs_to_the_conversation(
    lm: FakeLM, type_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = lm.stream

    def interrupted(inputs: list[list[int]], **options: Any) -> Any:
        events = stream(inputs, **options)
        yield next(events)
        yield next(events)
        raise KeyboardInterrupt

    monkeypatch.setattr(lm, "stream", interrupted)
    type_in("abc", "d")
    assert main(["chat", "m"]) == 0
    assert prompts(lm)[1] == "abc\n\nc\nd\n"


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail
