"""The source of an activation: which expression of a method computes it, and which one is its input."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd

from rewriter.sites.call_in_code import CallInCode, Span
from rewriter.sites.region import Region
from rewriter.sites.resolution import Resolver, parents, parts_of
from rewriter.tracing.calls import Place
from rewriter.tracing.source import Method

_Position = tuple[int, int, int, int]


class SourceReader:
    """Reads one expression that computes a region.

    Args:
        method: the method.
        owner: the module whose method it is.
        scope: the code, in the method's source, that the expression is computed by.
        nodes: the calls that this code made, each with its place there, in their order.
    """

    def __init__(
        self, method: Method, owner: nn.Module, scope: CodeType, nodes: Sequence[tuple[fx.Node, Place]]
    ) -> None:
        self._method, self._owner = method, owner
        self._expressions = {node: self._at(place) for node, place in nodes}
        self._resolver = Resolver(method, owner, scope)
        self._parents = parents(method.tree)

    def read(self, region: Region, name: str, *, several: bool) -> CallInCode | str:
        """Find the expression of a region and the one of its input; else say why there is none.

        Args:
            region: the region.
            name: the attribute that is called in its place.
            several: whether several calls are made where the expression stands, as in the turns of a loop.
        """
        expression = self._expressions.get(region.exit)
        if expression is None:
            return "its place in the source was not found"
        parent = self._parents.get(expression)
        if isinstance(parent, ast.Expr):
            return "its code drops the result and goes on with the value that was overwritten"
        if _is_taken_apart(expression, parent):
            return "its code takes the result apart"
        if any(isinstance(test, ast.Attribute) and test.attr == "training" for test in self._asked_around(expression)):
            return "its code depends on its train/eval mode"
        if several and any(isinstance(around, _LOOPS) for around in self._around(expression)):
            return "its formula goes through several turns of a loop"
        operands = list(self._operands(region))
        inner = (one for one in operands if expression in self._around(one))
        operand = next(inner, operands[0] if operands else None)
        if operand is None:
            return f"its input cannot be told in {ast.unparse(expression)[:60]!r}"
        parts = set(ast.walk(expression)) - set(ast.walk(operand))
        parts.update(
            one for node in region.nodes[:-1] for one in self._around(self._expressions.get(node) or expression)
        )
        if any(self._drops(part) for part in parts - set(self._around(expression))):
            return "its formula drops values out in train mode"
        if expression not in self._around(operand) and not self._always_runs_ahead(operand, expression):
            return "its formula begins where its code does not always go, or goes several times"
        statement = isinstance(expression, ast.AugAssign)
        if isinstance(expression, ast.AugAssign) and not isinstance(expression.target, ast.Name):
            return "its code assigns the result to a part of something"
        inside = all(
            expression is self._expressions[node] or self._is_inside(node, expression) for node in region.nodes
        )
        if not inside and region.overwrites:
            return "its formula overwrites values on the way"
        if (argument := self._argument(region, operand)) is not None:
            return f"its formula reads {argument}, which may be another the next time"
        return CallInCode(
            method=self._method.attribute,
            digest=self._method.digest,
            expression=self._span(expression),
            operand=self._span(operand),
            assigned=expression.target.id if statement and isinstance(expression.target, ast.Name) else "",  # type: ignore[attr-defined]
            name=name,
            text=" ".join(ast.unparse(expression).split())[:200],
        )

    def _argument(self, region: Region, operand: ast.expr) -> str | None:
        """Name an argument of the method that the expressions of a region read beside its input, or give None."""
        expressions = [self._expressions[node] for node in region.nodes]
        arguments = {one.arg for one in ast.walk(self._method.tree.args) if isinstance(one, ast.arg)} - {
            self._resolver.own_name()
        }
        kept = set(ast.walk(operand))
        for expression in expressions:
            for part in ast.walk(expression) if expression is not None else ():
                if not isinstance(part, ast.Name) or part in kept or ast.dump(part) == ast.dump(operand):
                    continue
                if part.id in arguments and not any(
                    value in expressions for value in self._resolver.assigned(part.id) if value
                ):
                    return part.id
        return None

    def attribute(self, region: Region) -> str | None:
        """Name the attribute of the module that holds the function which is called with the input alone, or None."""
        expression = self._expressions.get(region.exit)
        match expression:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=attr), args=[_], keywords=[]) if (
                owner == self._resolver.own_name() and attr in vars(self._owner) and callable(vars(self._owner)[attr])
            ):
                return attr
        return None

    def is_steady(self, region: Region) -> bool:
        """Say whether the same layers follow in the same order, run after run: no condition on values or modes."""
        node: ast.AST | None = self._expressions.get(region.exit)
        tests: list[ast.expr] = []
        while node is not None and node is not self._method.tree:
            if isinstance(node, ast.If | ast.IfExp | ast.While):
                tests.append(node.test)
            if isinstance(node, ast.For | ast.While):
                leaving = (ast.Continue, ast.Break, ast.Return)
                ifs = [one for one in ast.walk(node) if isinstance(one, ast.If)]
                tests += [one.test for one in ifs if any(isinstance(inner, leaving) for inner in ast.walk(one))]
            if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
                tests += [test for one in node.generators for test in one.ifs]
            if isinstance(node, ast.Try | ast.BoolOp):
                return False
            node = self._parents.get(node)
        return all(map(self._is_fixed, tests))

    def _drops(self, part: ast.AST) -> bool:
        """Say whether a part of the source is a call of a dropout, of which eval mode shows nothing."""
        if not isinstance(part, ast.Call):
            return False
        name = getattr(part.func, "attr", getattr(part.func, "id", ""))
        return "drop" in name or isinstance(self._resolver.resolved(part.func)[1], _DropoutNd)

    def _asked_around(self, expression: ast.AST) -> Iterator[ast.AST]:
        """Yield the parts of what is asked before an expression is computed: around it, and to leave ahead of it."""
        for node in self._around(expression):
            if isinstance(node, ast.If | ast.IfExp | ast.While):
                yield from ast.walk(node.test)
        ahead = (one for one in ast.walk(self._method.tree) if isinstance(one, ast.If))
        for one in (one for one in ahead if _position(one)[2:] <= _position(expression)[:2]):
            if any(isinstance(inner, ast.Return | ast.Continue | ast.Break) for inner in ast.walk(one)):
                yield from ast.walk(one.test)

    def _around(self, expression: ast.AST) -> Iterator[ast.AST]:
        node: ast.AST | None = expression
        while node is not None and node is not self._method.tree:
            yield node
            node = self._parents.get(node)

    def _is_fixed(self, test: ast.expr) -> bool:
        loops = [one for one in ast.walk(self._method.tree) if isinstance(one, ast.For | ast.comprehension)]
        counted = {name.id for one in loops for name in ast.walk(one.target) if isinstance(name, ast.Name)}
        for node in ast.walk(test):
            if isinstance(node, ast.Attribute) and node.attr == "training":
                return False
            if isinstance(node, ast.Call) and not (
                isinstance(node.func, ast.Name) and node.func.id in ("len", "isinstance", "hasattr", "range")
            ):
                return False
            if isinstance(node, ast.Name) and node.id not in counted and node.id != self._resolver.own_name():
                known, _ = self._resolver.resolved(node)
                if not known and not self._resolver.is_constant(node):
                    return False
        return True

    def _always_runs_ahead(self, operand: ast.AST, expression: ast.AST) -> bool:
        """Say whether an operand is computed, once, whenever the expression is."""
        around = list(self._around(expression))
        for node in self._around(operand):
            if isinstance(node, _NOT_ALWAYS_RUN) and node not in around:
                return False
            if isinstance(node, ast.stmt):
                blocks = (getattr(self._parents[node], name, []) for name in ("body", "orelse", "finalbody"))
                return any(one in block for block in blocks if node in block for one in around)
        return False

    def _operands(self, region: Region) -> Iterator[ast.expr]:
        for node in region.nodes:
            if region.entry in node.all_input_nodes and (read := self._expressions.get(node)) is not None:
                operand = self._operand(read, node, region)
                if operand is not None:
                    yield operand

    def _operand(self, read: ast.AST, node: fx.Node, region: Region) -> ast.expr | None:
        parts = parts_of(read)
        if any(isinstance(part, ast.Starred) for part in parts):
            return None
        candidates: list[ast.expr] = []
        for part in parts:
            made = self._made_by(part, node)
            if made is region.entry:
                return part
            if made is None and not self._resolver.is_constant(part):
                candidates.append(part)
        if len({ast.dump(part) for part in candidates}) == 1:
            return candidates[0]
        in_order = node.target not in _COMMUTATIVE or all(isinstance(one, fx.Node) for one in node.args)
        if isinstance(read, ast.BinOp) and len(node.args) == 2 and in_order:
            return read.left if node.args[0] is region.entry else read.right
        if isinstance(read, ast.Call) and self._called_by_name(read, node):
            given = [part for part in parts if self._resolver.resolved(part) != (True, torch)]
            named = [word.value for word in read.keywords if word.arg == "input"]
            return next(iter(named), None) or (given[0] if node.args[:1] == (region.entry,) else None)
        return None

    def _called_by_name(self, read: ast.Call, node: fx.Node) -> bool:
        """Say whether an expression is itself the call that a node is, so that both have their arguments in order."""
        name = getattr(read.func, "attr", getattr(read.func, "id", None))
        alone = [one for one, expression in self._expressions.items() if expression is read] == [node]
        return alone and name == getattr(node.target, "__name__", node.target)

    def _made_by(self, part: ast.expr, before: fx.Node) -> fx.Node | None:
        """Give the recorded value of an expression, as it was last computed before a call."""
        if (
            isinstance(part, ast.Name)
            and len(values := self._resolver.assigned(part.id)) == 1
            and values[0] is not None
        ):
            part = values[0]
        found = [node for node, expression in self._expressions.items() if expression is part and node < before]
        return found[-1] if found else None

    def _is_inside(self, node: fx.Node, expression: ast.AST) -> bool:
        one = self._expressions.get(node)
        while one is not None and one is not expression:
            one = self._parents.get(one)
        return one is not None

    def _span(self, node: ast.AST) -> Span:
        first = self._method.function.__code__.co_firstlineno
        line, column, end, end_column = _position(node)
        return line - first, column, end - first, end_column

    def _at(self, place: Place) -> ast.AST | None:
        line, end, column, end_column = _positions(place.code)[place.instruction // 2]
        if line is None or end is None or column is None or end_column is None:
            return None
        position = (line, column, end, end_column)
        nodes = _by_end(self._method.tree)
        ending = nodes.get((end, end_column), [])
        exact = [node for node in ending if _position(node) == position]
        # Python moves the beginning of a method call to its last line.
        return next(iter(exact), None) or next((node for node in ending if isinstance(node, ast.Call)), None)


_COMMUTATIVE = frozenset({"add", "mul", "add_", "mul_"})
_LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NOT_ALWAYS_RUN = (ast.BoolOp, ast.IfExp, ast.Compare, ast.Lambda, *_LOOPS)
_KINDS = (ast.Call, ast.BinOp, ast.UnaryOp, ast.Compare, ast.AugAssign, ast.Subscript, ast.Attribute)


@lru_cache(maxsize=4096)
def _positions(code: CodeType) -> list[tuple[int | None, int | None, int | None, int | None]]:
    return list(code.co_positions())


@lru_cache(maxsize=256)
def _by_end(tree: ast.AST) -> dict[tuple[int, int], list[ast.AST]]:
    found: dict[tuple[int, int], list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, _KINDS):
            found.setdefault(_position(node)[2:], []).append(node)
    return found


def _position(node: Any) -> _Position:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def _is_taken_apart(expression: ast.AST, parent: ast.AST | None) -> bool:
    if isinstance(parent, ast.Assign):
        return any(isinstance(target, ast.Tuple | ast.List) for target in parent.targets)
    return isinstance(parent, ast.Starred)
