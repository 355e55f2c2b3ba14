"""`foresight generate`: continue prompts, from the command line or from files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from foresight.atomic_file import atomic_writer
from foresight.cli import batch, loading
from foresight.cli.branch_spec import parse_branches
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
from foresight.cli.records import Record, read_records, records_of_prompts

if TYPE_CHECKING:
    from foresight.lm import LM


def generate(
    model: Model,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROMPT", help="Texts to continue; - reads them from stdin."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="TEXT", help="One more text. May be repeated."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help="Read prompts from a .txt file (one per line), a .jsonl file, or stdin (-).",
        ),
    ] = None,
    source_format: Annotated[
        str | None,
        typer.Option("--input-format", metavar="txt|jsonl", help="Where FILE's name does not say; stdin: txt."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write here; the file appears when it is complete."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="text|jsonl", help="Default: jsonl for FILE.jsonl, or else text."),
    ] = None,
    settings: Settings = None,
    max_new_tokens: MaxNewTokens = None,
    do_sample: DoSample = None,
    temperature: Temperature = None,
    top_p: Annotated[float | None, typer.Option("--top-p", metavar="X", help="Nucleus sampling.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", metavar="K", help="Sample from the best K.")] = None,
    num_return_sequences: Annotated[
        int | None, typer.Option("--num-return-sequences", min=1, metavar="N", help="Continuations per prompt.")
    ] = None,
    branches: Annotated[
        str | None,
        typer.Option(
            "--branches",
            metavar="SPEC",
            help="Write several and let a controller decide: 8, auto, or parallel_probe:width=16,stable=8.",
        ),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", metavar="TEXT", help="Stop at this text. May be repeated."),
    ] = None,
    seed: Seed = None,
    threads: Threads = None,
    dtype: Dtype = None,
    kv_cache_bytes: CacheBytes = None,
    config: Config = None,
    revision: Revision = None,
    debug: Debug = False,
) -> None:
    """Continue prompts from the command line or from files.

    All prompts make one batch; only the new text is printed or written.

    \b
    A record of a .jsonl file is an object with one of
      prompt     a text
      messages   a conversation: [{"role": "user", "content": "..."}]
      input_ids  token ids
    and, if wanted, its own id, seed and max_new_tokens.

    \b
    A line of JSONL output has
      id, sequence, text, new_tokens, finish_reason, seed
    where the seed repeats that record alone; with --branches also
      answer, votes

    With --branches the winner's text is printed. A terminal on stderr shows the branches while they run.

    Everything is read and checked before anything is generated. A single prompt is streamed when
    the output is a terminal.
    """  # noqa: D301  (click's mark for lines that stay as they are)
    options = merge_options(
        parse_settings(settings),
        {
            "max_new_tokens": max_new_tokens,
            "do_sample": do_sample,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "num_return_sequences": num_return_sequences,
            "stop_strings": stop or None,
            "seed": seed,
        },
    )
    width = _natural(options.setdefault("num_return_sequences", 1), "num_return_sequences", 1)
    base_seed = options.pop("seed", None)
    if base_seed is not None:
        _natural(base_seed, "seed", 0)
    if "branches" in options:
        raise typer.BadParameter("branches has an option of its own, --branches", param_hint="--set")
    if branches is not None:
        options["branches"] = parse_branches(branches)
        if width > 1:
            raise typer.BadParameter(
                f"num_return_sequences is {width}: only the winner is returned", param_hint="--branches"
            )
    stated = parse_assignments(config, "--config")
    jsonl = _wants_jsonl(form, out)
    records = _read(prompts or [], prompt or [], source, source_format)
    _require_limits(records, options)
    with ExitStack() as stack:
        file = stack.enter_context(atomic_writer(out)) if out else sys.stdout
        lm = loading.load_model(
            model,
            threads=threads,
            dtype=dtype,
            kv_cache_bytes=kv_cache_bytes,
            config=stated,
            revision=revision,
        )
        if lm.tokenizer is None and not jsonl:
            raise ValueError("this checkpoint has no tokenizer, so there is no text; use --format jsonl")
        requests = batch.prepare(lm, records, base_seed)
        watched = file is sys.stdout and file.isatty()
        if watched and not jsonl and len(requests) == width == 1 and branches is None:
            _stream(lm, requests, options)
            return
        run = batch.run if branches is None else batch.run_branches
        results = run(lm, requests, options, progress=branches is not None or not watched)
        if jsonl:
            _write_lines(file, results)
        else:
            _write_texts(file, results, len(requests), width)


def _natural(value: Any, key: str, least: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise typer.BadParameter(f"{key}={value}: expected an integer from {least} up", param_hint="--set")


def _wants_jsonl(form: str | None, out: Path | None) -> bool:
    if form is None:
        return out is not None and out.suffix == ".jsonl"
    return _choice(form, ("text", "jsonl"), "--format") == "jsonl"


def _choice(value: str, choices: Sequence[str], option: str) -> str:
    if value not in choices:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}", param_hint=option)
    return value


def _read(
    arguments: Sequence[str], options: Sequence[str], source: str | None, source_format: str | None
) -> list[Record]:
    """The records, from the one place that was named."""
    prompts = [*arguments, *options]
    if "-" in arguments:
        if len(prompts) > 1 or source is not None:
            raise typer.BadParameter("- (stdin) stands alone", param_hint="PROMPT")
        prompts, source = [], "-"
    if source is None:
        if not prompts:
            raise typer.BadParameter("give prompts, --input FILE, or - for stdin", param_hint="PROMPT")
        if source_format is not None:
            raise typer.BadParameter("it says how to read --input", param_hint="--input-format")
        return records_of_prompts(prompts)
    if prompts:
        raise typer.BadParameter("prompts come from --input already", param_hint="PROMPT")
    if source_format is None:
        suffix = ".txt" if source == "-" else Path(source).suffix
        if suffix not in (".txt", ".jsonl"):
            hint = f"{source}: neither .txt nor .jsonl; say --input-format"
            raise typer.BadParameter(hint, param_hint="--input")
        source_format = suffix[1:]
    _choice(source_format, ("txt", "jsonl"), "--input-format")
    return read_records(source, jsonl=source_format == "jsonl")


def _require_limits(records: Sequence[Record], options: dict[str, Any]) -> None:
    """Where some records have a limit of their own, the others need the common one."""
    without = [record for record in records if record.max_new_tokens is None]
    if without and len(without) < len(records) and "max_new_tokens" not in options:
        raise ValueError(f"{without[0].place}: has no max_new_tokens while other records have; give --max-new-tokens")


def _stream(lm: LM, requests: Sequence[batch.Request], options: dict[str, Any]) -> None:
    prompts = [request.input_ids for request in requests]
    for event in lm.stream(prompts, **{**options, **batch.call_options(requests, options)}):
        typer.echo(event.text or "", nl=False)
    typer.echo()


def _write_lines(file: IO[str], results: Iterable[batch.Result]) -> None:
    for result in results:
        file.write(batch.as_json(result) + "\n")
        file.flush()


def _write_texts(file: IO[str], results: Iterable[batch.Result], prompts: int, width: int) -> None:
    """Write each text as it comes, under a heading when there are several."""
    between = ""
    for result in results:
        if prompts > 1 or width > 1:
            number = f" [{result.sequence}]" if width > 1 else ""
            file.write(f"{between}==> {result.id}{number} <==\n")
            between = "\n"
        text = result.text or ""
        file.write(text if text.endswith("\n") else text + "\n")
        file.flush()
