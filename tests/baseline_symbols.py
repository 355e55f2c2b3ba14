"""No code for a newer processor may stand in for code that every processor runs.

The kernels in cpp/src/ops/cpu are compiled once per instruction set. An inline function from a
header, such as std::vector<float>::resize, is emitted as a weak symbol into each of those objects,
and the linker keeps the first copy it meets, for everybody. Baseline objects come first at link
time, so a copy there wins; a weak symbol that only an AVX object defines would run everywhere and
crash an older processor. This check fails on such symbols:

    python tests/baseline_symbols.py BUILD_FOLDER
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BASELINE = ("foresight_core.dir", "foresight_cpu_generic.dir")
NEWER = ("foresight_cpu_avx2.dir", "foresight_cpu_avx512.dir", "foresight_cpu_avx512_bf16.dir")
# A kernel's own namespace (9foresight4avx2...) has no baseline twin and needs none.
OWN_NAMESPACE = re.compile(r"(?<!\d)(4avx2|6avx512|11avx512_bf16)(?!\d)")


def defined(objects: list[Path], kinds: str) -> dict[str, str]:
    """Mangled name -> object file, for the function symbols of the given nm kinds."""
    output = subprocess.run(
        ["nm", "--defined-only", "--print-file-name", *map(str, objects)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    symbols = {}
    for line in output.splitlines():
        file, rest = line.rsplit(":", 1)
        _, kind, name = rest.split(maxsplit=2)
        if kind in kinds:
            symbols[name] = Path(file).name
    return symbols


def main() -> int:
    """Check the objects below the build folder given on the command line."""
    folder = Path(sys.argv[1]) / "CMakeFiles"
    baseline = [file for name in BASELINE for file in sorted((folder / name).rglob("*.o"))]
    newer = [file for name in NEWER for file in sorted((folder / name).rglob("*.o"))]
    if not baseline:
        print(f"baseline_symbols: no objects below {folder}; give the folder of a finished build")
        return 1
    if not newer:
        print("baseline_symbols: this build has no kernels beyond the generic ones")
        return 0
    known = defined(baseline, "TWVu")
    stray = {
        name: file
        for name, file in defined(newer, "WVu").items()
        if name not in known and not OWN_NAMESPACE.search(name)
    }
    for name, file in sorted(stray.items()):
        print(f"{file}: {name} (c++filt tells its name) is inline code without a baseline copy")
    if not stray:
        print(f"baseline_symbols: {len(newer)} kernel objects bring no code of their own to others")
    return 1 if stray else 0


if __name__ == "__main__":
    sys.exit(main())
