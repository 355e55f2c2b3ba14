"""Pictures of what happened, as matplotlib figures; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from foresight.plots.branch_map import branches
from foresight.plots.order_map import order_map

__all__ = ["branches", "order_map"]
