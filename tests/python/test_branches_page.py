"""The code of docs/branches.md runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "branches.md"


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
    *branches, last = capsys.readouterr().out.splitlines()[1:]
    assert len(branches) == 16
    assert all(line.split()[0] in ("finished", "stopped") for line in branches)
    assert last == "3"
