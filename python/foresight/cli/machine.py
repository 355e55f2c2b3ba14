"""What this machine is: processor, processors allowed, memory. Read from the system, nothing measured."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """A description of this machine; None where the system does not say.

    allowed: processors in this process's affinity mask. cpu_quota: processors that its control
    group may use, a fraction perhaps. memory_limit: its control group's.
    """

    processor: str
    system: str
    processors: int
    allowed: int
    cpu_quota: float | None
    memory_bytes: int | None
    memory_available_bytes: int | None
    memory_limit_bytes: int | None


def describe_machine() -> Machine:
    """Read what the system says about itself."""
    memory = _table(Path("/proc/meminfo"))
    processors = os.cpu_count() or 1
    return Machine(
        processor=_table(Path("/proc/cpuinfo")).get("model name") or platform.machine() or "unknown",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processors=processors,
        allowed=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else processors,
        cpu_quota=_cpu_quota(),
        memory_bytes=_kilobytes(memory.get("MemTotal")),
        memory_available_bytes=_kilobytes(memory.get("MemAvailable")),
        memory_limit_bytes=_memory_limit(),
    )


def show_bytes(count: int) -> str:
    """`count` bytes for people: 1.5 MiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _table(path: Path) -> dict[str, str]:
    """The lines `name : value` of a file under /proc, the first of each name."""
    found: dict[str, str] = {}
    for line in _read(path).splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _kilobytes(text: str | None) -> int | None:
    number = (text or "").removesuffix("kB").strip()
    return int(number) * 1024 if number.isdecimal() else None


def _group_folders() -> list[Path]:
    """This process's control group (version 2) and those above it."""
    inside = next((line[3:] for line in _read(Path("/proc/self/cgroup")).splitlines() if line.startswith("0::")), "/")
    folder = _CGROUPS / inside.strip("/")
    folders = [folder, *folder.parents]
    return [each for each in folders if each == _CGROUPS or _CGROUPS in each.parents]


def _cpu_quota() -> float | None:
    """The smallest quota on the way up, in processors."""
    quotas = []
    for folder in _group_folders():
        quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            quotas.append(int(quota) / int(period))
    quota, period = (_read(_CGROUPS / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if quota.isdecimal() and period.isdecimal() and int(period) > 0:
        quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _memory_limit() -> int | None:
    """The smallest limit on the way up; the huge number that version 1 writes for "none" is none."""
    limits = [_read(folder / "memory.max").strip() for folder in _group_folders()]
    limits.append(_read(_CGROUPS / "memory" / "memory.limit_in_bytes").strip())
    return min((int(limit) for limit in limits if limit.isdecimal() and int(limit) < 2**60), default=None)
