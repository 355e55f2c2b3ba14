"""The command's frame: help, exit codes, what goes to stderr, how KEY=VALUE is read."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from foresight.cli import app, loading, main
from foresight.cli.options import merge_options, parse_assignments, parse_settings, parse_size
from foresight.errors import CheckpointError, InternalError
from support.fake_lm import FakeLM

COMMANDS = ("demo", "generate", "chat", "replay", "doctor")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"foresight {command}" in out
    assert "--debug" in out


def test_help_names_the_commands_and_so_does_no_argument_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in COMMANDS)
    assert main([]) == 0
    assert capsys.readouterr().out == out


def test_help_lines_are_complete_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    commands = capsys.readouterr().out.partition("Commands:")[2]
    assert all(line.endswith(".") and not line.endswith("...") for line in commands.split("\n") if line)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "nope"),
        (["generate"], "MODEL"),
        (["generate", "m", "a", "--no-such-option"], "--no-such-option"),
        (["demo", "--width", "0"], "width"),
        (["demo", "--width", "many"], "width"),
        (["doctor", "surplus"], "surplus"),
    ],
)
def test_usage_errors_exit_with_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith("foresight: error: ")
    assert message in first
    assert second.startswith("Try 'foresight")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("temperature is -1,\n  expected more"), "temperature is -1, expected more"),
        (CheckpointError("config.json: is empty"), "config.json: is empty"),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), "a.txt: No such file or directory"),
        (MemoryError(), "out of memory"),
        (InternalError("cache.cc:12: broken"), "InternalError: cache.cc:12: broken (--debug shows where)"),
        (KeyError("x"), "KeyError: 'x' (--debug shows where)"),
    ],
)
def test_an_error_is_one_line_and_exits_with_1(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> FakeLM:
        raise error

    monkeypatch.setattr(loading, "load_model", load)
    assert main(["generate", "m", "a"]) == 1
    assert capsys.readouterr().err == f"foresight: error: {line}\n"
    assert main(["generate", "m", "a", "--debug"]) == 1
    traced = capsys.readouterr().err
    assert "Traceback" in traced
    assert traced.endswith(f"foresight: error: {line}\n")


def test_ctrl_c_is_one_line_and_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> FakeLM:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_model", load)
    assert main(["generate", "m", "a"]) == 130
    assert capsys.readouterr().err == "foresight: interrupted\n"


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    app._show_warning(UserWarning("mind\nthis"), UserWarning, "file.py", 1)
    assert capsys.readouterr().err == "foresight: warning: mind this\n"


def command_line(code: str, *words: str) -> list[str]:
    """A Python process that runs the command line `words` after `code`."""
    body = f"import sys; from foresight.cli import loading, main; {code}; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", body, *words]


def test_a_reader_that_goes_away_is_not_an_error() -> None:
    fake = "from support.fake_lm import FakeLM; loading.load_model = lambda *a, **k: FakeLM()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    many = ["a=1"] * 20_000
    process = subprocess.Popen(
        command_line(fake, "generate", "m", *many),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_ctrl_c_in_a_real_process() -> None:
    code = "import time; loading.load_model = lambda *a, **k: (print('ready', flush=True), time.sleep(60))"
    process = subprocess.Popen(
        command_line(code, "generate", "m", "a"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == b"foresight: interrupted\n"


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from foresight.cli import main; status = main(['--help']); "
        "print(*sorted({'torch', 'transformers', 'jinja2', 'huggingface_hub', 'rich'} & set(sys.modules)), "
        "file=sys.stderr); sys.exit(status)"
    )
    # Processor time, since on a busy machine the clock on the wall measures the others.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0
    assert result.stderr.strip() == ""
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_python_m_foresight_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "foresight", "--version"], capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith("foresight ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('"full"', "full"),
        ("full", "full"),
        ("a=b".partition("=")[2], "b"),
    ],
)
def test_values_are_json_or_words(text: str, value: object) -> None:
    assert parse_assignments([f"key={text}"], "--set") == {"key": value}


@pytest.mark.parametrize("assignment", ["key", "=1", "a b=1", "key=[1", "key=True", "key=", "key=1 2", "key=None"])
def test_what_is_no_key_value_is_refused(assignment: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_assignments([assignment], "--set")


def test_an_option_counts_once() -> None:
    with pytest.raises(typer.BadParameter, match="twice"):
        parse_assignments(["a=1", "a=2"], "--set")
    with pytest.raises(typer.BadParameter, match="--top-k"):
        merge_options({"top_k": 1}, {"top_k": 2})
    with pytest.raises(typer.BadParameter, match="--stop"):
        merge_options({"stop_strings": "a"}, {"stop_strings": ["b"]})
    assert merge_options({"a": 1}, {"b": 2, "c": None}) == {"a": 1, "b": 2}


@pytest.mark.parametrize("key", ["streamer", "input_ids", "output_logprobs", "return_dict_in_generate"])
def test_options_without_effect_here_are_refused(key: str) -> None:
    with pytest.raises(typer.BadParameter, match=key):
        parse_settings([f"{key}=true"])


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("4096", 4096), ("2K", 2048), ("512M", 2**29), ("4GiB", 2**32), ("1 tb", 2**40)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "4X", "1.5G", "G"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="bytes"):
        parse_size(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documentation_names_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    documentation = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    main([command, "--help"])
    options = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) - {"--help"}
    assert options
    assert {option for option in options if f"`{option}" not in documentation} == set()
