"""`foresight doctor`: what this installation is, what it runs on, and whether it works."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from foresight.cli import loading
from foresight.cli.machine import describe_machine, show_bytes
from foresight.cli.options import CommandError, Debug

_PACKAGES = ("numpy", "tokenizers", "safetensors", "huggingface_hub", "torch", "transformers")
_CUDA = "not used: this build holds no CUDA plugin; everything runs on the processor instead"
_CHECK_TOKENS = 48


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Debug = False,
) -> None:
    """Describe this installation and check that it works.

    The check loads the bundled reasoner and lets it solve one problem twice, greedily: both runs
    must give the same tokens. Exits 1 when anything is wrong.
    """
    report = {name: _guarded(part) for name, part in _PARTS.items()}
    typer.echo(json.dumps(report, indent=2) if as_json else _text(report))
    problems = [f"{name}: {part['error']}" for name, part in report.items() if "error" in part]
    if problems:
        raise CommandError("; ".join(problems))


def _guarded(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `part` finds, or the error that kept it from finding anything."""
    try:
        return part()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _versions() -> dict[str, Any]:
    import foresight

    found: dict[str, Any] = {"foresight": foresight.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _instructions() -> dict[str, Any]:
    from foresight import _core

    return {
        "supported": list(_core.supported_isas()),
        "chosen": _core.default_isa(),
        "forced": os.environ.get("FORESIGHT_ISA"),
    }


def _threads() -> dict[str, Any]:
    from foresight import _core

    return {
        "used": _core.default_num_threads(),
        "forced": os.environ.get("FORESIGHT_NUM_THREADS"),
    }


def _bundled() -> dict[str, Any]:
    from foresight.checkpoint import bundled_names, resolve

    return {name: _size(resolve(f"bundled:{name}")) for name in bundled_names()}


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _self_check() -> dict[str, Any]:
    from foresight import tasks

    started = time.perf_counter()
    prompt = tasks.get("reasoner").problems(1)[0].prompt
    lm = loading.load_model("bundled:reasoner")
    runs = [lm.generate([prompt], do_sample=False, max_new_tokens=_CHECK_TOKENS)[0] for _ in range(2)]
    if runs[0] != runs[1]:
        raise RuntimeError("two greedy runs of the same prompt gave different tokens")
    return {"tokens": len(runs[0]) - len(prompt), "seconds": round(time.perf_counter() - started, 3)}


_PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "versions": _versions,
    "machine": lambda: dataclasses.asdict(describe_machine()),
    "instructions": _instructions,
    "threads": _threads,
    "cuda": lambda: {"available": False, "why": _CUDA},
    "bundled_models": _bundled,
    "self_check": _self_check,
}


def _text(report: dict[str, dict[str, Any]]) -> str:
    """The report for people."""
    lines = []
    for name, part in report.items():
        heading = name.replace("_", " ")
        rows = [f"WRONG: {part['error']}"] if "error" in part else _ROWS[name](part)
        lines += [f"{heading if row == 0 else '':<16}{text}" for row, text in enumerate(rows)]
    return "\n".join(line.rstrip() for line in lines)


def _version_rows(part: dict[str, Any]) -> list[str]:
    return [f"{name} {version or '(not installed)'}" for name, version in part.items()]


def _machine_rows(part: dict[str, Any]) -> list[str]:
    total, available, limit = (part[f"memory{kind}_bytes"] for kind in ("", "_available", "_limit"))
    memory = [f"{show_bytes(total)} of memory" if total else "memory unknown"]
    memory += [f"{show_bytes(available)} available"] if available else []
    memory += [f"limited to {show_bytes(limit)}"] if limit else []
    quota = f", a quota of {part['cpu_quota']:g}" if part["cpu_quota"] is not None else ""
    processors = f"{part['processors']} processors, {part['allowed']} allowed{quota}"
    return [part["processor"], part["system"], processors, ", ".join(memory)]


def _instruction_rows(part: dict[str, Any]) -> list[str]:
    why = "FORESIGHT_ISA" if part["forced"] else "the best of those that run here"
    return [f"{part['chosen']} ({why}: {', '.join(part['supported'])})"]


def _thread_rows(part: dict[str, Any]) -> list[str]:
    why = "FORESIGHT_NUM_THREADS" if part["forced"] else "from affinity and quota"
    return [f"{part['used']} ({why})"]


def _bundled_rows(part: dict[str, Any]) -> list[str]:
    return [f"{name}, {show_bytes(size)}" for name, size in part.items()] or ["none"]


def _check_rows(part: dict[str, Any]) -> list[str]:
    return [f"passed: twice the same {part['tokens']} tokens, {part['seconds']:.2f} s with loading"]


_ROWS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "versions": _version_rows,
    "machine": _machine_rows,
    "instructions": _instruction_rows,
    "threads": _thread_rows,
    "cuda": lambda part: [part["why"]],
    "bundled_models": _bundled_rows,
    "self_check": _check_rows,
}
