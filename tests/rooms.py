"""Which room of the C++ core may include which: one table, and a scan that holds the tree to it.

Run it (`python tests/rooms.py [repository]`): it prints each forbidden include as file:line and
exits 1 when there is one. What each room knows, and must not know, is told in docs/architecture.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# From the ground up. A room may include itself and the rooms named in its row.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "trace": {"core"},
    "backend": {"core", "trace"},
    "ops": {"core", "backend"},
    "rows": {"core"},
    "cache": {"core"},
    "sample": {"core", "backend", "ops", "rows"},
    "constrain": {"core", "rows"},
    "model": {"core", "backend", "ops", "rows", "cache"},
    "decode": {"core", "rows", "sample"},
    "control": {"core", "rows"},
    "engine": {
        *("core", "trace", "backend", "rows", "cache"),
        *("sample", "constrain", "model", "decode", "control"),
    },
    "bindings": {
        *("core", "trace", "backend", "rows", "sample"),
        *("model", "decode", "control", "engine"),
    },
}
# cpp/bindings/testing*.cc show single ops and the cache to the tests.
TESTING_BINDINGS = {"ops", "cache"}

INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')


def allowed_from(room: str, file: Path) -> set[str]:
    """The rooms that `file`, which lies in `room`, may include."""
    extra = TESTING_BINDINGS if room == "bindings" and file.name.startswith("testing") else set()
    return {room} | ALLOWED[room] | extra


def sources(repository: Path) -> Iterator[tuple[str, Path]]:
    """Every C++ and CUDA file of the core and the bindings, with the room it lies in."""
    for folder in (repository / "cpp/src", repository / "cpp/bindings"):
        for file in sorted(folder.rglob("*")):
            if file.suffix in {".h", ".cc", ".cu", ".cuh"}:
                room = "bindings" if folder.name == "bindings" else file.relative_to(folder).parts[0]
                yield room, file


def violations(repository: Path) -> list[str]:
    """One line per forbidden include: file:line, what it includes, and what it may include."""
    found = []
    for room, file in sources(repository):
        place = file.relative_to(repository)
        if room not in ALLOWED:
            found.append(f"{place}:1: {room!r} is not a room; rooms are {', '.join(ALLOWED)}")
            continue
        allowed = allowed_from(room, file)
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match[1].split("/")[0]
            if target not in ALLOWED:
                if room == "bindings" and (file.parent / match[1]).is_file():
                    continue
                found.append(f'{place}:{number}: "{match[1]}" does not start with a room')
            elif target not in allowed:
                names = ", ".join(name for name in ALLOWED if name in allowed)
                found.append(f"{place}:{number}: {room} may not include {target} (it may: {names})")
    return found


def main() -> int:
    """Check the repository given on the command line, or the one this file lies in."""
    repository = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = violations(repository)
    print("\n".join(found) if found else "rooms: every include follows the table")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
