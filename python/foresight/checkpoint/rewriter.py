"""Rewrites a parsed chat template so that what Jinja's environment does not see pays, too.

The environment is asked for operators, calls, filters, tests and outputs. Loops, literals, comparisons, slices and
concatenations are compiled to plain Python; here each is led through one of the functions below, as a filter.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

import jinja2.ext
import jinja2.nodes as nodes
import jinja2.visitor
from jinja2.parser import Parser

from foresight.checkpoint.meter import METER, STEP, Items, compare_cost, shallow

__all__ = ["REWRITTEN", "Generation", "Rewriter"]

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda left, right: left in right,
    "notin": lambda left, right: left not in right,
}


def _loop(items: Any) -> Items:
    return Items(iter(items), METER.get())


def _pay(cost: int) -> None:
    METER.get().charge(cost)


def _built(value: Any) -> Any:
    METER.get().weigh(value)
    return value


def _operand(value: Any) -> Any:
    meter = METER.get()
    meter.charge(meter.weigh(value))
    return value


def _sliced(value: Any) -> Any:
    METER.get().charge(STEP + shallow(value))
    return value


def _compare(left: Any, comparison: str, right: Any) -> Any:
    meter = METER.get()
    meter.charge(compare_cost(meter, left, right, comparison in ("in", "notin")))
    return _COMPARISONS[comparison](left, right)


def _concatenated(values: list[Any]) -> str:
    meter = METER.get()
    meter.make(sum(meter.weigh(value) for value in values))
    return "".join(str(value) for value in values)


REWRITTEN: dict[str, Callable[..., Any]] = {
    "foresight.built": _built,
    "foresight.compare": _compare,
    "foresight.concatenated": _concatenated,
    "foresight.loop": _loop,
    "foresight.operand": _operand,
    "foresight.pay": _pay,
    "foresight.sliced": _sliced,
}


def _through(node: nodes.Expr, name: str, *args: Any) -> nodes.Filter:
    wrapped = [arg if isinstance(arg, nodes.Node) else nodes.Const(arg) for arg in args]
    return nodes.Filter(node, f"foresight.{name}", wrapped, [], None, None, lineno=node.lineno)


class Rewriter(jinja2.visitor.NodeTransformer):
    """Leads everything that the environment does not see through the functions above."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        self._body(node)
        node.iter = _through(cast(nodes.Expr, node.iter), "loop")
        return node

    def _body(self, node: nodes.For | nodes.Macro | nodes.CallBlock | nodes.Block) -> nodes.Node:
        """What may run many times pays for its text and its nodes each time."""
        cost = _running_cost(node)
        self.generic_visit(node)
        payment = _through(nodes.Const(cost), "pay")
        node.body.insert(0, nodes.ExprStmt(payment, lineno=node.lineno))
        return node

    visit_Macro = visit_CallBlock = visit_Block = _body  # noqa: N815

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        if len(node.ops) == 1:
            return _through(node.expr, "compare", node.ops[0].op, node.ops[0].expr)
        node.expr = _through(node.expr, "operand")
        for operand in node.ops:
            operand.expr = _through(operand.expr, "operand")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _through(node.node, "sliced")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through(nodes.List(node.nodes, lineno=node.lineno), "concatenated")

    def visit_List(self, node: nodes.List) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through(node, "built")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through(node, "built")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through(node, "built") if node.ctx == "load" else node


def _running_cost(node: nodes.Node) -> int:
    """What running a body once costs at most, without the bodies inside it that pay for themselves."""
    cost, pending = STEP, list(node.iter_child_nodes())
    while pending:
        child = pending.pop()
        cost += len(child.data) if isinstance(child, nodes.TemplateData) else 8
        if not isinstance(child, (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)):
            pending.extend(child.iter_child_nodes())
    return cost


class Generation(jinja2.ext.Extension):
    """`{% generation %}`, by which templates mark the assistant's text for training; here it is only a scope."""

    tags = {"generation"}  # noqa: RUF012 - as the base class has it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)
