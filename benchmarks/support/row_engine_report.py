"""What benchmarks/row_engine.py makes of its samples: figures, ratios, expectations, a table."""

from __future__ import annotations

from typing import Any

from support.results import Samples, paired_ratio, rounded, summary

OURS = "foresight"


def expectations_of(samples: Samples, amx: bool) -> list[dict[str, Any]]:
    """What the engine is expected to reach, as ratios within rounds, and whether this run reached it."""
    found: list[dict[str, Any]] = []

    def expect(text: str, value: float | None, bound: float, at_most: bool = False, waived: bool = False) -> None:
        if value is None:
            return
        entry = {"expectation": text, "ratio": value, "met": value <= bound if at_most else value >= bound}
        found.append(entry | {"waived": True} if waived and not entry["met"] else entry)

    def times(name: str, engine: str = OURS) -> list[float] | None:
        return samples.get(name, {}).get(engine)

    def ahead(name: str, peer: str) -> float | None:
        mine, theirs = times(name), times(name, peer)
        return paired_ratio(theirs, mine) if mine and theirs else None

    def own(name: str, other: str) -> float | None:
        first, second = times(name), times(other)
        return paired_ratio(first, second) if first and second else None

    def own_rate(batch: int) -> float | None:
        ratio = own("decode_1", f"decode_{batch}")
        return None if ratio is None else rounded(ratio * batch)

    expect("decode at batch 1: at least 2x transformers", ahead("decode_1", "transformers"), 2.0)
    expect("decode at batch 1: not below llama.cpp", ahead("decode_1", "llama.cpp"), 1.0)
    expect("8 rows after a context: at most 1.4x the time of 1 row", own("rows_8", "rows_1"), 1.4, at_most=True)
    expect("prefill: not below transformers", ahead("prefill", "transformers"), 1.0, waived=amx)
    expect("decode at batch 32: at least 8x the tokens per second of batch 1", own_rate(32), 8.0)
    expect("decode at batch 32: not below transformers", ahead("decode_32", "transformers"), 1.0)
    text = "a token after the long context: at most 2x the time after the short one"
    expect(text, own("decode_after_long_context", "decode_after_context"), 2.0, at_most=True)
    return found


def figures_of(samples: Samples, prefill_tokens: int) -> dict[str, dict[str, dict[str, Any]]]:
    """By measurement and engine: milliseconds, tokens per second, seconds."""
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for name, values in samples.items():
        for engine, seconds in values.items():
            if name == "load":
                entry: dict[str, Any] = {"seconds": summary(seconds)}
            elif name == "prefill":
                entry = {"tokens_per_second": summary([prefill_tokens / value for value in seconds])}
            else:
                entry = {"milliseconds": summary([1000 * value for value in seconds])}
                if name.removeprefix("decode_").isdigit():
                    batch = int(name.removeprefix("decode_"))
                    entry["tokens_per_second"] = summary([batch / value for value in seconds])
            figures.setdefault(name, {})[engine] = entry
    return figures


def ratios_of(samples: Samples) -> dict[str, dict[str, float]]:
    """How many times as fast as each peer: the median over rounds of the ratio within a round."""
    found: dict[str, dict[str, float]] = {}
    for name, values in samples.items():
        for peer in values:
            if peer != OURS and OURS in values:
                found.setdefault(name, {})[peer] = paired_ratio(values[peer], values[OURS])
    return found


def print_table(result: dict[str, Any]) -> None:
    """The medians, one line per measurement, and the expectations."""
    engines = result["engines"]
    print(f"{'':50}" + "".join(f"{engine:>14}" for engine in engines))

    def line(title: str, values: list[float | None]) -> None:
        print(f"{title:50}" + "".join(f"{'-' if value is None else f'{value:.4g}':>14}" for value in values))

    for name, entries in result["figures"].items():
        for unit in sorted({unit for entry in entries.values() for unit in entry}):
            cells = [entries.get(engine, {}).get(unit) for engine in engines]
            line(f"{name}, {unit}", [None if cell is None else cell["median"] for cell in cells])
    for key in next(iter(result["memory"].values())):
        line(f"memory, {key}", [result["memory"][engine][key] for engine in engines])
    for entry in result["expectations"]:
        verdict = "met" if entry["met"] else "missed, waived" if entry.get("waived") else "missed"
        print(f"{entry['ratio']:8.2f}  {verdict:14}  {entry['expectation']}")
