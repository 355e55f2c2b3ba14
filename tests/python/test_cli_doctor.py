"""`foresight doctor`, and what it reads of the machine."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from foresight.cli import doctor, loading, machine, main
from support.fake_lm import FakeLM


def test_a_healthy_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["versions"]["foresight"] == importlib.metadata.version("foresight-lm")
    assert report["versions"]["numpy"] == importlib.metadata.version("numpy")
    assert report["instructions"]["chosen"] in report["instructions"]["supported"]
    assert report["threads"]["used"] >= 1
    assert report["bundled_models"]["reasoner"] > 100_000
    assert report["self_check"]["tokens"] > 0
    assert report["cuda"]["available"] is False


def test_the_same_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for heading in ("versions", "machine", "instructions", "threads", "cuda", "bundled models", "self check"):
        assert f"\n{heading} " in f"\n{out}"
    assert "no CUDA plugin" in out
    assert "passed" in out


def test_a_forced_instruction_set_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORESIGHT_ISA", "abacus")
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "abacus" in captured.out
    assert captured.err.startswith("foresight: error: ")
    assert "abacus" in captured.err
    assert captured.err.count("\n") == 1


def test_a_failed_check_is_told_with_everything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Moody(FakeLM):
        def generate(self, inputs: list[list[int]], **options: Any) -> Any:
            (sequence,) = super().generate(inputs, **options)
            return [[*sequence, len(self.calls)]]

    monkeypatch.setattr(loading, "load_model", lambda *_, **__: Moody())
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "different tokens" in captured.err
    assert "self_check" in captured.err
    assert "WRONG" in captured.out
    assert "versions" in captured.out


def test_the_check_compares_two_greedy_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = FakeLM()
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: lm)
    assert doctor._self_check()["tokens"] > 0
    assert [call["do_sample"] for call in lm.calls] == [False, False]


def test_this_machine() -> None:
    here = machine.describe_machine()
    assert 1 <= here.allowed <= here.processors
    assert here.processor
    assert here.memory_bytes is None or here.memory_bytes > 2**20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control group hierarchy in which this process is in /outer/inner."""
    own = tmp_path / "self-cgroup"
    own.write_text("0::/outer/inner\n")
    root = tmp_path / "cgroup"
    (root / "outer" / "inner").mkdir(parents=True)
    read = machine._read
    monkeypatch.setattr(machine, "_CGROUPS", root)
    monkeypatch.setattr(machine, "_read", lambda path: read(own if path == Path("/proc/self/cgroup") else path))
    return root


def test_the_smallest_quota_on_the_way_up_counts(groups: Path) -> None:
    assert machine.describe_machine().cpu_quota is None
    (groups / "outer" / "inner" / "cpu.max").write_text("max 100000\n")
    assert machine.describe_machine().cpu_quota is None
    (groups / "outer" / "cpu.max").write_text("150000 100000\n")
    (groups / "cpu.max").write_text("400000 100000\n")
    assert machine.describe_machine().cpu_quota == 1.5


def test_quotas_of_version_1(groups: Path) -> None:
    (groups / "cpu").mkdir()
    (groups / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (groups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.describe_machine().cpu_quota is None
    (groups / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    assert machine.describe_machine().cpu_quota == 0.5


def test_memory_limits(groups: Path) -> None:
    (groups / "outer" / "inner" / "memory.max").write_text("max\n")
    assert machine.describe_machine().memory_limit_bytes is None
    (groups / "outer" / "memory.max").write_text("1048576\n")
    assert machine.describe_machine().memory_limit_bytes == 2**20


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**41, "2.0 TiB")]
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert machine.show_bytes(count) == text
