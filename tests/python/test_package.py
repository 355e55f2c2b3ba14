"""What an installed package must be: quick to import, typed, one version, free of torch."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import os
import subprocess
import sys
from pathlib import Path

import foresight

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_installed_package_is_tested_not_the_source_tree() -> None:
    assert not Path(foresight.__file__).is_relative_to(REPOSITORY / "python")


def test_version_is_the_one_in_the_metadata() -> None:
    assert foresight.__version__ == importlib.metadata.version("foresight-lm")


def test_package_is_marked_as_typed() -> None:
    assert importlib.resources.files(foresight).joinpath("py.typed").is_file()


def test_import_is_quick_and_brings_in_no_framework(tmp_path: Path) -> None:
    # numpy is required anyway, so its own import time is not ours; the best of several fresh
    # processes counts, since a busy machine can only slow one down.
    code = (
        "import sys, time, numpy\n"
        "start = time.perf_counter()\n"
        "import foresight\n"
        "print(time.perf_counter() - start)\n"
        "print(*sorted({'torch', 'transformers', 'matplotlib', 'ray'} & set(sys.modules)))\n"
    )
    times = []
    for _ in range(5):
        result = run("-c", code, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        seconds, _, frameworks = result.stdout.partition("\n")
        assert frameworks.strip() == ""
        times.append(float(seconds))
        if min(times) < 0.3:
            return
    raise AssertionError(f"import foresight took {min(times):.2f} s at best; 0.3 s are allowed")


def test_stub_of_the_extension_equals_the_module(tmp_path: Path) -> None:
    result = run("-m", "mypy.stubtest", "foresight._core", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_command_runs_outside_the_repository(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("foresight")
    result = subprocess.run([str(command), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for name in ("demo", "generate", "doctor"):
        assert name in result.stdout
