"""Each engine lives in a process of its own: nobody's threads spin in another's time, and the peak of
memory is the engine's. The processes wait on a pipe; only the one that is asked works.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from support.engine import Limits

# Name on the command line -> module and class.
ENGINES = {
    "foresight": ("support.engine_foresight", "ForesightEngine"),
    "transformers": ("support.engine_transformers", "TransformersEngine"),
    "llama.cpp": ("support.engine_llama_cpp", "LlamaCppEngine"),
}
# Those of diffusion.py.
SAMPLERS = {
    "foresight sampler": ("support.sampler_foresight", "ForesightSampler"),
    "reference sampler": ("support.sampler_reference", "ReferenceSampler"),
}
# Those of speculative.py.
CALLS = {"transformers calls": ("support.assisted_transformers", "AssistedEngine")}
_REQUIRED = {"foresight": "foresight", "transformers": "transformers", "llama.cpp": "llama_cpp"}


def is_installed(name: str) -> bool:
    """Whether the engine's package can be found here."""
    return importlib.util.find_spec(_REQUIRED[name]) is not None


class EngineProcess:
    """An engine that is measured from here; `load_seconds` is what its constructor took, without imports."""

    def __init__(self, name: str, folder: Path, threads: int, limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, folder, threads, limits), daemon=True)
        self.name = name
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read when a library is loaded, so set from outside
        try:
            self._process.start()
        finally:
            os.environ.pop("OMP_NUM_THREADS")
            if before is not None:
                os.environ["OMP_NUM_THREADS"] = before
        theirs.close()
        self.load_seconds: float = self._receive()

    def measure(self, method: str, *arguments: Any) -> Any:
        """Calls the engine's method there and returns its result."""
        self._pipe.send((method, arguments))
        return self._receive()

    def memory(self) -> dict[str, int]:
        """Bytes of the process: peak (with the pages of mapped files), and anonymous ones now."""
        return self.measure("memory")

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join()

    def _receive(self) -> Any:
        try:
            problem, result = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self.name} ended") from None
        if problem is not None:
            raise RuntimeError(f"{self.name}: {problem}")
        return result


def _serve(pipe: Connection, name: str, folder: Path, threads: int, limits: Limits) -> None:
    engine: Any = None
    while True:
        try:
            if engine is None:
                module, cls = (ENGINES | SAMPLERS | CALLS)[name]
                maker = getattr(importlib.import_module(module), cls)
                begin = time.perf_counter()
                engine = maker(folder, threads, limits)
                answer: Any = (None, time.perf_counter() - begin)
            else:
                method, arguments = pipe.recv()
                answer = (None, _memory() if method == "memory" else getattr(engine, method)(*arguments))
        except EOFError:
            return
        except Exception:
            answer = (traceback.format_exc(), None)
        pipe.send(answer)
        if engine is None:
            return


def _memory() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    fields = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}
    return {"peak_bytes": fields["VmHWM"], "anonymous_bytes": fields["RssAnon"]}
