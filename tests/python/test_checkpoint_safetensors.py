"""The safetensors reader: the same bytes as the reference library, and every broken header refused by name."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight.checkpoint.json_limits import parse_json
from foresight.checkpoint.safetensors import SafetensorsFile
from foresight.errors import CheckpointError


def write(path: Path, header: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: str, shape: list[Any], begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_views_are_the_tensors_of_the_reference_library(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    generator = np.random.default_rng(0)
    tensors = {
        "a": generator.standard_normal((3, 5)).astype(np.float32),
        "b": generator.standard_normal((7,)).astype(np.float16),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "scalar": np.array(2.5, dtype=np.float32),
        "whole": np.arange(6, dtype=np.int64),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert set(file.infos) == set(tensors)
    for name in ("a", "b", "empty", "scalar"):
        view = file.view(name)
        assert view.shape == tensors[name].shape
        assert view.dtype == str(tensors[name].dtype)
        np.testing.assert_array_equal(view.elements(), tensors[name])
        np.testing.assert_array_equal(view.float32(), tensors[name].astype(np.float32))
        assert not view.array.flags.writeable
        assert view.file == str(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="'whole' is I64, expected one of F32, F16, BF16"):
        file.view("whole")
    with pytest.raises(CheckpointError, match="has no tensor 'z'"):
        file.view("z")


def test_bfloat16_is_kept_as_its_bits(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000, 0x7FC0, 0x0001], dtype=np.uint16)
    path = write(tmp_path / "x", {"t": entry("BF16", [2, 2], 0, 8)}, bits.tobytes())
    view = SafetensorsFile(path).view("t")
    np.testing.assert_array_equal(view.elements(), bits.reshape(2, 2))
    values = view.float32()
    assert values[0].tolist() == [1.0, -2.0]
    assert np.isnan(values[1, 0])


def test_views_outlive_the_reader(tmp_path: Path) -> None:
    path = write(tmp_path / "x", {"t": entry("F32", [4], 0, 16)}, np.arange(4, dtype=np.float32).tobytes())
    view = SafetensorsFile(path).view("t")
    path.unlink()
    gc.collect()
    assert view.elements().tolist() == [0.0, 1.0, 2.0, 3.0]
    assert view.pointer % 4 == 0


def test_data_that_is_not_aligned_is_copied(tmp_path: Path) -> None:
    values = np.arange(3, dtype=np.float32)
    for pad in range(4):
        header = json.dumps({"t": entry("F32", [3], 0, 12)}).encode() + b" " * pad
        view = SafetensorsFile(write(tmp_path / f"x{pad}", header, values.tobytes())).view("t")
        assert view.pointer % 4 == 0
        np.testing.assert_array_equal(view.elements(), values)
        assert not view.array.flags.writeable


GOOD = {"t": entry("F32", [2], 0, 8)}
BROKEN: list[tuple[str, Any, bytes, int | None, str]] = [
    ("huge header", GOOD, bytes(8), 2**63, "header of 9223372036854775808 bytes"),
    ("header above the limit", GOOD, bytes(8), 100_000_001, "header of 100000001 bytes"),
    ("header past the end", GOOD, b"", 10_000, "header of 10000 bytes"),
    ("not json", b"{]", b"", None, "is not JSON"),
    ("not an object", b"[]", b"", None, "does not start with"),
    ("leading blank", b" {}", b"", None, "does not start with"),
    ("not utf-8", b'{"\xff": 1}', b"", None, "is not UTF-8"),
    ("deep", b'{"a":' + b"[" * 50_000, b"", None, "nested more than 4 deep"),
    ("repeated", b'{"t":{},"t":{}}', b"", None, "the key 't' appears more than once"),
    ("constant", b'{"t":NaN}', b"", None, "NaN"),
    ("entry", {"t": 3}, b"", None, "entry 3"),
    ("metadata", {"__metadata__": {"a": 1}}, b"", None, "__metadata__"),
    ("dtype", {"t": entry("F128", [2], 0, 8)}, bytes(8), None, "dtype 'F128'"),
    ("dtype type", {"t": {**GOOD["t"], "dtype": ["F32"]}}, bytes(8), None, "dtype ['F32']"),
    ("negative shape", {"t": entry("F32", [-2], 0, 8)}, bytes(8), None, "shape [-2]"),
    ("float shape", {"t": entry("F32", [2.0], 0, 8)}, bytes(8), None, "shape [2.0]"),
    ("bool shape", {"t": entry("F32", [True, 2], 0, 8)}, bytes(8), None, "shape [True, 2]"),
    ("rank", {"t": entry("F32", [1] * 9, 0, 4)}, bytes(4), None, "at most 8 natural numbers"),
    ("overflow", {"t": entry("F32", [2**62, 2**62], 0, 8)}, bytes(8), None, "elements"),
    ("zero overflow", {"t": entry("F32", [0, 2**90], 0, 0)}, b"", None, "elements"),
    ("size", {"t": entry("F32", [3], 0, 8)}, bytes(8), None, "the bytes of F32 in shape [3]"),
    ("half bytes", {"t": entry("F4", [3], 0, 1)}, bytes(1), None, "the bytes of F4"),
    ("reversed", {"t": entry("F32", [2], 8, 0)}, bytes(8), None, "data_offsets [8, 0]"),
    ("negative offset", {"t": entry("F32", [2], -8, 0)}, bytes(8), None, "data_offsets [-8, 0]"),
    ("three offsets", {"t": {**GOOD["t"], "data_offsets": [0, 4, 8]}}, bytes(8), None, "data_offsets [0, 4, 8]"),
    ("truncated", GOOD, bytes(7), None, "truncated"),
    ("outside", {"t": entry("F32", [2], 8, 16)}, bytes(8), None, "offsets within the 8 bytes"),
    ("overlap", {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12), None, "'b' overlaps"),
    ("same", {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 0, 8)}, bytes(8), None, "'b' overlaps"),
    ("hole", {"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, bytes(12), None, "a hole after"),
    ("late start", {"a": entry("F32", [1], 4, 8)}, bytes(8), None, "a hole after the header"),
    ("trailing", GOOD, bytes(12), None, "4 bytes after tensor 't' belong to no tensor"),
    ("digits", b'{"t":' + b"9" * 5000 + b"}", b"", None, "an integer of 5000 digits"),
]


@pytest.mark.parametrize(
    ("header", "data", "length", "message"), [case[1:] for case in BROKEN], ids=[c[0] for c in BROKEN]
)
def test_broken_files_are_refused(header: Any, data: bytes, length: int | None, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", header, data, length=length)
    with pytest.raises(CheckpointError) as caught:
        SafetensorsFile(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_files_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"1234567")
    (tmp_path / "empty").write_bytes(b"")
    for name in ("short", "empty", "missing", "."):
        with pytest.raises(CheckpointError, match=name if name != "." else "not a regular file"):
            SafetensorsFile(tmp_path / name)


def test_json_limits() -> None:
    assert parse_json(b'{"a": ["]\\"[", {"b": 1.5}]}', "x", max_depth=3) == {"a": [']"[', {"b": 1.5}]}
    assert parse_json(b'["\\\\", "\\"[[[["]', "x", max_depth=1) == ["\\", '"[[[[']
    with pytest.raises(CheckpointError, match="nested more than 2 deep"):
        parse_json(b'{"a": ["]\\"[", {"b": 1.5}]}', "x", max_depth=2)
    with pytest.raises(CheckpointError, match="of more than 10 items"):
        parse_json(json.dumps(list(range(100))).encode(), "x", max_items=10)
    big = json.dumps([["x" * 1000] * 1000] * 3).encode()
    assert len(parse_json(big, "x", max_depth=2)) == 3


@pytest.mark.parametrize("piece", [b'\\"', b'"', b"\\\\", b'""', b"[]", b'"\\', b',"a'])
def test_json_is_measured_in_linear_time(piece: bytes) -> None:
    begin = time.monotonic()
    with pytest.raises(CheckpointError):
        parse_json(b'{"' + piece * 2_000_000, "x")
    assert time.monotonic() - begin < 20
