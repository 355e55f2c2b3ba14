"""The state of a reasoning cache between two steps: plain data, and its checks when it comes back from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foresight.atomic_file import atomic_writer
from foresight.checkpoint.json_limits import load_json

__all__ = ["State", "check_state", "load_state", "new_state", "save_state"]

State = dict[str, Any]
"""format, version; settings: what all rounds share, texts and numbers; problems: texts; seeds: one per problem;
rounds: per problem a list of {"reasoning", "answer", "num_tokens", "finish_reason", "summary", "summary_num_tokens"},
where answer is None without a close-think token, and summary is None until it is written."""

FORMAT, VERSION = "foresight reasoning cache", 1
_MOST_BYTES = 1 << 28
_WORD = 2**64
_COUNT = 2**53
_KINDS: dict[str, tuple[type, ...]] = {
    "reasoning": (str,),
    "answer": (str, type(None)),
    "num_tokens": (int,),
    "finish_reason": (str,),
    "summary": (str, type(None)),
    "summary_num_tokens": (int,),
}


def new_state(settings: Mapping[str, Any], problems: list[str], seeds: list[int]) -> State:
    """The state before the first round."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "settings": dict(settings),
        "seeds": list(seeds),
        "problems": list(problems),
        "rounds": [[] for _ in problems],
    }


def save_state(state: State, path: Path) -> None:
    """Puts the state into the place of `path`, all of it or none."""
    with atomic_writer(path) as file:
        json.dump(state, file, indent=1)


def load_state(path: Path) -> State:
    """Reads a state. Raises fs.CheckpointError for a file that is no JSON, ValueError for one that is no state."""
    state = load_json(path, max_bytes=_MOST_BYTES, max_items=10_000_000)
    return check_state(state, str(path))


def check_state(state: Any, source: str = "state") -> State:
    """A copy of a state, once its shape is found right; ValueError names the field that is not."""
    if not isinstance(state, Mapping):
        raise ValueError(f"{source}: expected an object, got {type(state).__name__}")
    if state.get("format") != FORMAT or state.get("version") != VERSION:
        found = f"{state.get('format')!r:.40}, version {state.get('version')!r:.20}"
        raise ValueError(f"{source}: this is {found}; expected {FORMAT!r}, version {VERSION}")
    problems, seeds, rounds = (_list(state, name, source) for name in ("problems", "seeds", "rounds"))
    if not problems or not all(isinstance(problem, str) for problem in problems):
        raise ValueError(f"{source}: problems are not a non-empty list of texts")
    if len(seeds) != len(problems) or not all(_is_count(seed, _WORD) for seed in seeds):
        raise ValueError(f"{source}: seeds are not {len(problems)} integers from 0 to 2**64 - 1")
    if len(rounds) != len(problems):
        raise ValueError(f"{source}: rounds has {len(rounds)} lists for {len(problems)} problems")
    for i, of_problem in enumerate(rounds):
        if not isinstance(of_problem, list) or len(of_problem) != len(rounds[0]):
            raise ValueError(f"{source}: rounds[{i}] is not a list of as many rounds as rounds[0]")
        for t, entry in enumerate(of_problem):
            _check_round(entry, f"{source}: rounds[{i}][{t}]")
            is_last = t + 1 == len(of_problem)
            if (entry["summary"] is None) != (rounds[0][t]["summary"] is None if is_last else False):
                raise ValueError(f"{source}: rounds[{i}][{t}]: its summary is missing, or comes before the others'")
    settings = state.get("settings")
    if not isinstance(settings, Mapping) or not all(isinstance(v, (str, int, type(None))) for v in settings.values()):
        raise ValueError(f"{source}: settings is not an object of texts and numbers")
    made = new_state(settings, problems, seeds)
    made["rounds"] = [[{name: entry[name] for name in _KINDS} for entry in of_problem] for of_problem in rounds]
    return made


def _check_round(entry: Any, where: str) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: expected an object, got {type(entry).__name__}")
    for name, kinds in _KINDS.items():
        value = entry.get(name, ...)
        if not isinstance(value, kinds) or (kinds == (int,) and not _is_count(value, _COUNT)):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ValueError(f"{where}: {name} is {_shown(value)}, expected {expected}")


def _list(state: Mapping[str, Any], name: str, source: str) -> list[Any]:
    value = state.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{source}: {name} is not a list")
    return value


def _is_count(value: Any, below: int) -> bool:
    return type(value) is int and 0 <= value < below


def _shown(value: Any) -> str:
    return "missing" if value is ... else f"{value!r:.40}"
