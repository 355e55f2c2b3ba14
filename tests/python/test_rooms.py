"""The include table of tests/rooms.py holds, and a breach of it is found."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rooms", REPOSITORY / "tests/rooms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(repository: Path, name: str, text: str) -> None:
    file = repository / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_repository_follows_the_table(rooms: ModuleType) -> None:
    assert len(list(rooms.sources(REPOSITORY))) > 20
    assert rooms.violations(REPOSITORY) == []


def test_rooms_are_listed_from_the_ground_up(rooms: ModuleType) -> None:
    below: set[str] = set()
    for room, allowed in rooms.ALLOWED.items():
        assert allowed <= below, room
        below.add(room)


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        (
            "cpp/src/decode/greedy.cc",
            '#include <vector>\n\n  #  include "model/port.h"\n',
            "cpp/src/decode/greedy.cc:3: decode may not include model",
        ),
        (
            "cpp/src/core/shape.h",
            '#include "rows/row.h"',
            "cpp/src/core/shape.h:1: core may not include rows",
        ),
        (
            "cpp/src/engine/step.cc",
            '#include "ops/gemm.h"',
            "cpp/src/engine/step.cc:1: engine may not include ops",
        ),
        (
            "cpp/bindings/lm.cc",
            '#include "cache/pages.h"',
            "cpp/bindings/lm.cc:1: bindings may not include cache",
        ),
        (
            "cpp/src/decode/near.cc",
            '#include "../model/port.h"',
            'cpp/src/decode/near.cc:1: "../model/port.h" does not start with a room',
        ),
        ("cpp/src/attic/old.cc", "", "cpp/src/attic/old.cc:1: 'attic' is not a room"),
    ],
)
def test_a_breach_is_found(rooms: ModuleType, tmp_path: Path, file: str, text: str, complaint: str) -> None:
    write(tmp_path, file, text)
    found = rooms.violations(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(complaint)


def test_what_is_allowed_passes(rooms: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, "cpp/src/decode/greedy.cc", '#include "decode/policy.h"\n#include "rows/row.h"\n')
    write(tmp_path, "cpp/bindings/testing_ops.cc", '#include "convert.h"\n#include "ops/gemm.h"\n')
    write(tmp_path, "cpp/bindings/convert.h", "#include <vector>\n")
    assert rooms.violations(tmp_path) == []
