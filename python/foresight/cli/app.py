"""The command's frame: which subcommands there are, and what every way of ending prints and returns.

Exit codes: 0 success, 1 an error, 2 a usage error, 130 interrupted, 141 the reader of a pipe went away.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from foresight.cli.chat import chat
from foresight.cli.demo import demo
from foresight.cli.doctor import doctor
from foresight.cli.generate import generate
from foresight.cli.options import CommandError, State
from foresight.cli.replay import replay
from foresight.cli.trace import trace

USAGE_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

# Their text says what is wrong; of any other exception the type is part of the message.
_TELLING = (CommandError, ValueError, TypeError, NotImplementedError, OSError, MemoryError)

app = typer.Typer(
    name="foresight",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (demo, generate, chat, replay, doctor):
    app.command()(_command)
app.add_typer(trace, name="trace")


def _print_version(wanted: bool) -> None:
    if wanted:
        import foresight

        typer.echo(f"foresight {foresight.__version__}")
        raise typer.Exit


@app.callback()
def _foresight(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Decode language models in every direction at once.

    Start with `foresight demo`: it needs no network, no GPU and less than a minute.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: the process's own) and return the exit code."""
    state = State()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(list(sys.argv[1:] if arguments is None else arguments) or ["--help"], state)


def _run(words: list[str], state: State) -> int:
    try:
        command = get_command(app)
        with command.make_context("foresight", words, obj=state) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        beginning = "\n" if sys.stderr.isatty() else ""  # after the ^C that the terminal shows
        typer.echo(f"{beginning}foresight: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE
    except Exception as error:
        return _report(error, state)
    return 0


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without the place in the code that it came from."""
    typer.echo(f"foresight: warning: {' '.join(str(message).split())}", err=True)


def _report(error: Exception, state: State) -> int:
    """Print `error` as one line, and say what the exit code is."""
    if state.debug:
        traceback.print_exception(error)
    code = getattr(error, "exit_code", 1)
    typer.echo(f"foresight: error: {_one_line(error)}", err=True)
    if code == USAGE_ERROR:
        context: Any = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "foresight"
        typer.echo(f"Try '{path} --help'.", err=True)
        return USAGE_ERROR
    return 1


def _one_line(error: Exception) -> str:
    """What a person is told about `error`."""
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        text = str(format_message())
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{os.fsdecode(error.filename)}: {error.strerror}"
    elif isinstance(error, MemoryError) and not str(error):
        text = "out of memory"
    elif isinstance(error, _TELLING) and str(error):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error} (--debug shows where)"
    return " ".join(text.split())


def _forget_stdout() -> None:
    """Let the interpreter's last flush go nowhere, since nobody reads any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
