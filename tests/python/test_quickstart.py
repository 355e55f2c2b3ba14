"""The code of docs/quickstart.md runs as it is written, but for the part that needs a reader's own checkpoint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"


@pytest.mark.slow
def test_the_quickstart_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    own = [block for block in blocks if "path/to/folder" in block]
    assert len(own) == 1
    code = "\n".join(block for block in blocks if block not in own)
    exec(compile(code, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "answer:" in printed
    assert "256 sequences" in printed
    assert printed.count("sequential tokens") == 4
    assert "tokens per problem" in printed
    assert printed.count("is finished") == 8
