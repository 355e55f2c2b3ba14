"""What a result was measured on: the machine, the versions, and how fast it reads memory right now."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_PACKAGES = ("foresight-lm", "numpy", "torch", "transformers", "llama-cpp-python", "gguf")
# What decides which kernels run.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")


def describe_machine() -> dict[str, Any]:
    """Processor, memory, system and the versions of the packages that are installed."""
    cpu = _cpu_fields()
    flags = set(cpu.get("flags", "").split())
    return {
        "cpu": cpu.get("model name", platform.processor() or platform.machine()),
        "cpu_family_model": [cpu.get("cpu family"), cpu.get("model")],
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "processors": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def load_average() -> float:
    """Runnable processes, averaged over the last minute."""
    return os.getloadavg()[0]


class StreamRead:
    """Reads a buffer as large as the weights, which no cache keeps, with several threads."""

    def __init__(self, threads: int, num_bytes: int) -> None:
        self._parts: list[npt.NDArray[np.uint64]] = np.array_split(np.ones(num_bytes // 8, np.uint64), threads)
        self._pool = ThreadPoolExecutor(threads)

    def measure(self) -> float:
        """Bytes per second of one pass."""
        begin = time.perf_counter()
        list(self._pool.map(np.sum, self._parts))  # numpy lets go of the interpreter's lock
        return sum(part.nbytes for part in self._parts) / (time.perf_counter() - begin)


def _cpu_fields() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
