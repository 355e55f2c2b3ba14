"""The peers of speculative.py: what each is asked for, and how it is reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from support.checkpoint import Shape
from support.engine import Limits, Tokens
from support.worker import EngineProcess, is_installed

PEERS = ("transformers", "llama.cpp")
PLAIN = "plain"
RATES = (0.6, 0.8, 0.9)
COUNTS = (4, 7)
LOOKUP = "prompt lookup"
LOOKUP_COUNT = 7

Call = tuple[float, int]  # seconds, forwards


def synthetic_name(rate: float, count: int) -> str:
    """How both sides name guesses of a given acceptance."""
    return f"acceptance {rate}, {count} guesses"


def installed_peers() -> list[str]:
    """Those that can run here."""
    return [name for name in PEERS if is_installed(name)]


class SpeculativePeers:
    """A process for each peer; `names` are those of the measurements."""

    def __init__(self, peers: Sequence[str], folder: Path, shape: Shape, threads: int, limits: Limits) -> None:
        self._calls: dict[str, Callable[[list[Tokens], int], Call | None]] = {}
        self._processes: list[EngineProcess] = []
        if "transformers" in peers:
            self._add_transformers(self._start("transformers calls", folder, threads, limits))
        if "llama.cpp" in peers:
            from support.gguf_file import ensure_gguf

            ensure_gguf(folder, shape)
            process = self._start("llama.cpp", folder, threads, limits)
            self._calls[f"llama.cpp, {PLAIN}"] = lambda prompts, num_new: process.measure("call", prompts, num_new)

    @property
    def names(self) -> list[str]:
        """Peer and setting of each measurement."""
        return list(self._calls)

    def call(self, name: str, prompts: list[Tokens], num_new: int) -> Call | None:
        """Seconds and forwards of a call; None where the peer has no such call for so many prompts."""
        return self._calls[name](prompts, num_new)

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.close()

    def _start(self, name: str, folder: Path, threads: int, limits: Limits) -> EngineProcess:
        self._processes.append(EngineProcess(name, folder, threads, limits))
        return self._processes[-1]

    def _add_transformers(self, process: EngineProcess) -> None:
        def alone(method: str, *arguments: float) -> Callable[[list[Tokens], int], Call | None]:
            # transformers refuses guesses for a batch; its plain decoding is only what they are compared with.
            return lambda prompts, num_new: (
                process.measure(method, prompts[0], num_new, *arguments) if len(prompts) == 1 else None
            )

        self._calls[f"transformers, {PLAIN}"] = alone("call")
        for rate in RATES:
            for count in COUNTS:
                self._calls[f"transformers, {synthetic_name(rate, count)}"] = alone("synthetic", count, rate)
        self._calls[f"transformers, {LOOKUP}"] = alone("lookup", LOOKUP_COUNT)
