"""From what `branches=` takes to the core's controllers."""

from __future__ import annotations

import dataclasses
from typing import Any

from foresight import branches as _branches
from foresight.branches import Branches
from foresight.risk import RiskBound

__all__ = ["core_controller", "named", "num_branches", "resolve", "with_width"]


def resolve(controller: Any) -> Any:
    """The Branches object or user's controller that `controller` means: an int is SelfConsistency. Raises TypeError for
    what is none.
    """
    if isinstance(controller, int) and not isinstance(controller, bool):
        return _branches.SelfConsistency(controller)
    if isinstance(controller, str):
        return named(controller)
    if isinstance(controller, RiskBound):
        return controller.certified
    if isinstance(controller, type):
        raise TypeError(f"{controller.__name__} is a class, expected one of its objects: {controller.__name__}()")
    if isinstance(controller, Branches) or callable(getattr(controller, "on_start", None)):
        return controller
    raise TypeError(f"{controller!r} is no controller: expected an int, fs.SelfConsistency(8), ... or an fs.Controller")


def named(name: str, **options: Any) -> Branches:
    """The controller of that name, the class's in snake case, or "auto", the recommended one. Raises ValueError for unknown names and options."""
    known = {cls.name: cls for cls in Branches.__subclasses__()}
    known["auto"] = _branches.LikelyLead  # why: docs/choosing_a_controller.md
    if name not in known:
        raise ValueError(f"controller {name!r} is not known; known are {', '.join(sorted(known))}")
    fields = [field.name for field in dataclasses.fields(known[name])]
    for option in options:
        if option not in fields:
            raise ValueError(f"controller {name!r} has no option {option!r}; it has {', '.join(fields)}")
    return known[name](**options)


def num_branches(controller: Any) -> int:
    """The most branches that it starts; of a user's controller its `width`."""
    if isinstance(controller, Branches):
        return controller.num_branches
    width = getattr(controller, "width", None)
    _branches.check_count("width of the controller", width)
    return int(width)  # type: ignore[arg-type]


def with_width(controller: Any, width: int) -> Any:
    """The same controller over `width` branches. Raises ValueError for one that has no width."""
    import copy

    _branches.check_count("width", width)
    if isinstance(controller, _branches.MemoryPrune):
        return _branches.MemoryPrune(with_width(controller.inner, width), kv_cache_bytes=controller.kv_cache_bytes)
    if isinstance(controller, Branches):
        if not any(field.name == "width" for field in dataclasses.fields(controller)):
            raise ValueError(f"{type(controller).__name__} has no width; say its sizes instead")
        changed: dict[str, Any] = {"width": width}
        return dataclasses.replace(controller, **changed)
    other = copy.deepcopy(controller)
    other.width = width
    return other


def core_controller(controller: Any) -> Any:
    """What the core takes: its own by name, a user's object as it is. The core makes a new one, or a deep copy, for every
    request.
    """
    from foresight import _core

    if not isinstance(controller, Branches):
        return controller
    if isinstance(controller, _branches.MemoryPrune):
        return _core.make_controller(controller.name, controller.core_options(), core_controller(controller.inner))
    return _core.make_controller(controller.name, controller.core_options(), vote=controller.vote)
