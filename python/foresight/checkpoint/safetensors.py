"""One safetensors file: a bounded reader that hands out views of a read-only mapping.

The format: 8 bytes little-endian header length, that many bytes of JSON {name: {dtype, shape, data_offsets}}, then the
tensors' bytes without holes or overlaps (https://github.com/huggingface/safetensors, "Format"). Every number is checked
against the file before a view is made.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foresight.checkpoint.fields import shown
from foresight.checkpoint.files import file_size
from foresight.checkpoint.json_limits import parse_json
from foresight.errors import CheckpointError

__all__ = ["SafetensorsFile", "TensorInfo", "TensorView"]

MAX_HEADER_BYTES = 100_000_000
MAX_RANK = 8
_MAX_ELEMENTS = 2**48

# Bits per element of every dtype that the format knows.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32,
    "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip

# The dtypes that can be weights: their name in ModelConfig, and what numpy sees (which has no bfloat16).
_WEIGHT_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_INTEGER_DTYPES: dict[str, type[np.generic]] = {"I64": np.int64, "I32": np.int32}
_NUMPY_DTYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": np.uint16,
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a header says about one tensor; `start` and `end` count from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorView:
    """A tensor's bytes, read-only; `array` keeps the mapping alive."""

    name: str
    dtype: str  # "float32" | "float16" | "bfloat16"
    shape: tuple[int, ...]
    array: npt.NDArray[np.uint8]
    file: str

    @property
    def pointer(self) -> int:
        """The address of the first byte, aligned to the element size."""
        return int(self.array.ctypes.data)

    def rows(self, first: int, count: int) -> TensorView:
        """The view of `count` rows from `first` on: they lie together."""
        size = self.array.size // max(self.shape[0], 1)
        part = self.array[first * size : (first + count) * size]
        return TensorView(self.name, self.dtype, (count, *self.shape[1:]), part, self.file)

    def elements(self) -> npt.NDArray[Any]:
        """The tensor in its shape, without a copy; bfloat16 appears as its uint16 bits."""
        return self.array.view(_NUMPY_DTYPES[self.dtype]).reshape(self.shape)

    def float32(self) -> npt.NDArray[np.float32]:
        """The tensor's values as float32."""
        if self.dtype == "bfloat16":
            return (self.elements().astype(np.uint32) << 16).view(np.float32)
        return np.asarray(self.elements(), dtype=np.float32)


class SafetensorsFile:
    """The tensors of one file; `infos` lists them, `view` gives one.

    Raises CheckpointError for anything that the format does not allow, before a byte of tensor data is touched.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = file_size(path)
        if size < 8:
            raise CheckpointError(f"{path}: holds {size} bytes, expected a safetensors file")
        try:
            with path.open("rb") as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be mapped: {error}") from error
        self._bytes = np.frombuffer(mapping, dtype=np.uint8)
        self.infos = self._read_header()

    def view(self, name: str) -> TensorView:
        """A view of a tensor of floating point weights.

        Raises CheckpointError when there is no such tensor or its dtype cannot be weights.
        """
        info = self.infos.get(name)
        if info is None:
            raise CheckpointError(f"{self.path}: has no tensor {shown(name)}")
        if info.dtype not in _WEIGHT_DTYPES:
            raise CheckpointError(
                f"{self.path}: tensor {shown(name)} is {info.dtype}, expected one of {', '.join(_WEIGHT_DTYPES)}"
            )
        array = self._bytes[info.start : info.end]
        dtype = _WEIGHT_DTYPES[info.dtype]
        if array.size and array.ctypes.data % np.dtype(_NUMPY_DTYPES[dtype]).itemsize:
            array = array.copy()  # old writers did not align the data
            array.flags.writeable = False
        return TensorView(name=name, dtype=dtype, shape=info.shape, array=array, file=str(self.path))

    def integers(self, name: str) -> npt.NDArray[np.int64]:
        """A copy of a tensor of integers. Raises CheckpointError when it is none."""
        info = self.infos[name]
        if info.dtype not in _INTEGER_DTYPES:
            raise CheckpointError(
                f"{self.path}: tensor {shown(name)} is {info.dtype}, expected one of {', '.join(_INTEGER_DTYPES)}"
            )
        values = np.frombuffer(self._bytes[info.start : info.end].tobytes(), dtype=_INTEGER_DTYPES[info.dtype])
        return values.astype(np.int64).reshape(info.shape)

    def _read_header(self) -> dict[str, TensorInfo]:
        size = self._bytes.size
        length = int.from_bytes(self._bytes[:8].tobytes(), "little")
        if length > MAX_HEADER_BYTES or 8 + length > size:
            raise CheckpointError(
                f"{self.path}: header of {length} bytes in a file of {size}, expected at most {MAX_HEADER_BYTES}"
                " and inside the file (is it truncated?)"
            )
        data = self._bytes[8 : 8 + length].tobytes()
        if not data.startswith(b"{"):
            raise CheckpointError(f"{self.path}: the header does not start with '{{'")
        header = parse_json(data, f"{self.path}: header", max_depth=4)
        metadata = header.pop("__metadata__", None) or {}
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise CheckpointError(f"{self.path}: __metadata__ is {shown(metadata)}, expected strings by name")
        infos = {name: self._info(name, entry, 8 + length, size) for name, entry in header.items()}
        self._check_layout(infos, 8 + length, size)
        return infos

    def _info(self, name: str, entry: Any, base: int, size: int) -> TensorInfo:
        def error(what: str, value: object, expected: str) -> CheckpointError:
            return CheckpointError(f"{self.path}: tensor {shown(name)}: {what} {shown(value)}, expected {expected}")

        if not isinstance(entry, dict):
            raise error("entry", entry, "an object")
        dtype: Any = entry.get("dtype")
        shape: Any = entry.get("shape")
        offsets: Any = entry.get("data_offsets")
        if not isinstance(dtype, str) or dtype not in _BITS:
            raise error("dtype", dtype, f"one of {', '.join(_BITS)}")
        if not _naturals(shape) or len(shape) > MAX_RANK:
            raise error("shape", shape, f"at most {MAX_RANK} natural numbers")
        if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            raise error("data_offsets", offsets, "a begin and an end")
        start, end = base + offsets[0], base + offsets[1]
        if end > size:
            raise error("data_offsets", offsets, f"offsets within the {size - base} bytes of data (truncated?)")
        elements = math.prod(shape)
        if max(shape, default=0) > _MAX_ELEMENTS or elements > _MAX_ELEMENTS:
            raise error("shape", shape, f"at most {_MAX_ELEMENTS} elements")
        if elements * _BITS[dtype] != 8 * (end - start):
            raise error("data_offsets", offsets, f"the bytes of {dtype} in shape {shape}")
        return TensorInfo(dtype=dtype, shape=tuple(shape), start=start, end=end)

    def _check_layout(self, infos: dict[str, TensorInfo], base: int, size: int) -> None:
        """Tensors lie one after the other, from the end of the header to the end of the file."""
        expected, before = base, "the header"
        for name, info in sorted(infos.items(), key=lambda item: (item[1].start, item[1].end)):
            if info.start != expected:
                fault = "overlaps" if info.start < expected else "leaves a hole after"
                raise CheckpointError(f"{self.path}: tensor {shown(name)} {fault} {before}")
            expected, before = info.end, f"tensor {shown(name)}"
        if expected != size:
            raise CheckpointError(f"{self.path}: {size - expected} bytes after {before} belong to no tensor")


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)
