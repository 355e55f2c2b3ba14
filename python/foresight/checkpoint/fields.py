"""Typed access to the fields of a JSON object: every error names the file, the field, the value and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foresight.errors import CheckpointError

__all__ = ["MISSING", "Fields", "Missing", "shown"]


class Missing:
    """The type of MISSING, the default of a field that must be there."""


MISSING = Missing()


def shown(value: object) -> str:
    """A value as an error shows it: its repr, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class Fields:
    """The fields of one JSON object of the file `source`; `where` is the path to it inside the file.

    Each getter raises CheckpointError when the field has another type or lies outside its bounds, and when it is absent
    and has no default. `null` counts as absent.
    """

    def __init__(self, raw: Mapping[str, Any], source: str, where: str = "") -> None:
        self.raw = raw
        self.source = source
        self.where = where

    def has(self, name: str) -> bool:
        """Whether the field is there with a value other than null."""
        return self.raw.get(name) is not None

    def error(self, name: str, expected: str) -> CheckpointError:
        """The error for a field whose value is not what was expected."""
        found = f"is {shown(self.raw[name])}" if name in self.raw else "is missing"
        return CheckpointError(f"{self.source}: field {self.where + name!r} {found}, expected {expected}")

    def integer(
        self,
        name: str,
        default: int | Missing = MISSING,
        *,
        minimum: int = 1,
        maximum: int = 2**31 - 1,
    ) -> int:
        """An integer within bounds."""
        value = self.raw.get(name)
        if value is None and not isinstance(default, Missing):
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise self.error(name, f"an integer from {minimum} to {maximum}")
        return value

    def optional_integer(self, name: str, *, minimum: int = 1, maximum: int = 2**31 - 1) -> int | None:
        """An integer within bounds, or None where the field is absent or null."""
        return self.integer(name, minimum=minimum, maximum=maximum) if self.has(name) else None

    def number(
        self,
        name: str,
        default: float | Missing = MISSING,
        *,
        above: float = 0.0,
        maximum: float = 1e30,
    ) -> float:
        """A finite number greater than `above`."""
        value = self.raw.get(name)
        if value is None and not isinstance(default, Missing):
            return default
        if isinstance(value, (int, float)) and not isinstance(value, bool) and above < value <= maximum:
            return float(value)
        raise self.error(name, f"a number greater than {above:g} and at most {maximum:g}")

    def optional_number(self, name: str, *, above: float = 0.0, maximum: float = 1e30) -> float | None:
        """A finite number greater than `above`, or None where the field is absent or null."""
        return self.number(name, above=above, maximum=maximum) if self.has(name) else None

    def flag(self, name: str, default: bool) -> bool:
        """A boolean."""
        value = self.raw.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(name, "true or false")
        return value

    def text(self, name: str, default: str | Missing = MISSING) -> str:
        """A string."""
        value = self.raw.get(name)
        if value is None and not isinstance(default, Missing):
            return default
        if not isinstance(value, str):
            raise self.error(name, "a string")
        return value

    def child(self, name: str) -> Fields:
        """The fields of an object; an absent one has no fields."""
        value = self.raw.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.error(name, "an object")
        return Fields(value, self.source, f"{self.where}{name}.")

    def token_ids(self, name: str) -> tuple[int, ...]:
        """Token ids written as one integer or a list of them; negative ones mean "none" and are dropped."""
        value = self.raw.get(name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if len(values) > 4096 or any(isinstance(v, bool) or not isinstance(v, int) for v in values):
            raise self.error(name, "a token id or a list of them")
        if any(v > 2**31 - 1 for v in values):
            raise self.error(name, "token ids below 2147483648")
        return tuple(dict.fromkeys(v for v in values if v >= 0))

    def token_id(self, name: str) -> int | None:
        """One token id, or None where the field is absent, null or negative."""
        value = self.raw.get(name)
        if isinstance(value, list):
            raise self.error(name, "one token id")
        return next(iter(self.token_ids(name)), None)
