"""From a path, a hub id or a bundled name to a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foresight.checkpoint import bundled_names, resolve
from foresight.errors import CheckpointError

huggingface_hub = pytest.importorskip("huggingface_hub")


def test_folders_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(tmp_path) == tmp_path
    assert resolve(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    assert resolve("~/models") == tmp_path / "models"
    monkeypatch.chdir(tmp_path)
    assert resolve("models").resolve() == (tmp_path / "models").resolve()


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="is a file, expected the folder"):
        resolve(tmp_path / "file")
    for missing in (
        tmp_path / "missing",
        str(tmp_path / "missing"),
        "./missing",
        "../a/b",
        "a/b/c",
        "",
        "a\0b",
        "x" * 999,
    ):
        with pytest.raises(CheckpointError):
            resolve(missing)
    for wrong in (3, None, b"bytes", ["x"]):
        with pytest.raises(TypeError):
            resolve(wrong)  # type: ignore[arg-type]


def test_hub_ids_are_downloaded_without_what_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def snapshot_download(repo_id: str, **options: Any) -> str:
        calls.append((repo_id, options))
        return str(tmp_path)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert resolve("org/name", revision="abc", local_files_only=True) == tmp_path
    name, options = calls[0]
    assert name == "org/name"
    assert (options["revision"], options["local_files_only"]) == ("abc", True)
    assert "config.json" in options["allow_patterns"]
    assert not any("bin" in pattern or pattern == "*" for pattern in options["allow_patterns"])


def test_a_model_that_the_hub_cannot_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"'no-such/model': no such folder.*without local_files_only"):
        resolve("no-such/model", local_files_only=True)


def test_bundled_models_by_name() -> None:
    names = bundled_names()
    assert names == sorted(names)
    for name in names:
        assert (resolve(f"bundled:{name}") / "config.json").exists()
    with pytest.raises(ValueError, match="no bundled model 'nothing'"):
        resolve("bundled:nothing")
    with pytest.raises(ValueError, match="no bundled model"):
        resolve("bundled:../checkpoint")


def test_importing_is_light() -> None:
    code = (
        "import sys, foresight.checkpoint\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'jinja2', 'huggingface_hub', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
