"""The problems the bundled models were trained for: `names()`, `get(name)`, `for_model(name)`."""

from __future__ import annotations

from foresight.tasks.base import Problem, Task
from foresight.tasks.reasoner import ReasonerTask
from foresight.tasks.sudoku import SudokuTask

__all__ = ["Problem", "Task", "for_model", "get", "names"]

_TASKS: dict[str, type[Task]] = {task.name: task for task in (ReasonerTask, SudokuTask)}


def names() -> list[str]:
    """Return the names that `get` knows, sorted."""
    return sorted(_TASKS)


def get(name: str) -> Task:
    """Return the task called `name`.

    Raises ValueError, naming the known tasks, for any other name.
    """
    try:
        return _TASKS[name]()
    except KeyError:
        raise ValueError(f"no task called {name!r}; there are: {', '.join(names())}") from None


def for_model(name: str) -> Task | None:
    """Return the task that the bundled model called `name` was trained for; None for any other name."""
    return next((task() for task in _TASKS.values() if name in task.models), None)
