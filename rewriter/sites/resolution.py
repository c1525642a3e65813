"""What the words of a method stand for, as far as this can be told without running it."""

from __future__ import annotations

import ast
import builtins
from functools import lru_cache
from types import CodeType, ModuleType
from typing import Any

from torch import Tensor, nn

from rewriter.tracing.source import Method


class Resolver:
    """Tells what the words of one method stand for.

    Args:
        method: the method.
        owner: the module whose method it is.
        scope: the code, in the method's source, that uses the words.
    """

    def __init__(self, method: Method, owner: nn.Module, scope: CodeType) -> None:
        self._method, self._owner, self._scope = method, owner, scope

    def is_constant(self, part: ast.expr, depth: int = 0) -> bool:
        """Say whether an expression is known to be no tensor."""
        if depth > 8 or isinstance(part, ast.Constant):
            return isinstance(part, ast.Constant)
        known, value = self.resolved(part)
        if known:
            return not isinstance(value, Tensor)
        if isinstance(part, ast.Name) and part.id == self.own_name():
            return True
        if isinstance(part, ast.Name):
            values = self.assigned(part.id)
            return bool(values) and all(value is not None and self.is_constant(value, depth + 1) for value in values)
        if isinstance(part, ast.UnaryOp | ast.BinOp | ast.Call):
            return all(self.is_constant(one, depth + 1) for one in parts_of(part)) and not (
                isinstance(part, ast.Call) and not self.resolved(part.func)[0]
            )
        return False

    def assigned(self, name: str) -> list[ast.expr | None]:
        """List what is assigned to a local name; None for what is no assignment of its own."""
        return _assignments(self._method.tree).get(name, [])

    def resolved(self, part: ast.expr) -> tuple[bool, Any]:
        """Look up a name that is not local, or an attribute of the module or of an imported one."""
        if isinstance(part, ast.Name):
            if part.id in self._scope.co_varnames or part.id in self._scope.co_cellvars:
                return False, None
            function = self._method.function
            free = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            if part.id in free:
                try:
                    return True, free[part.id].cell_contents
                except ValueError:
                    return False, None
            for names in (function.__globals__, vars(builtins)):
                if part.id in names:
                    return True, names[part.id]
            return False, None
        if isinstance(part, ast.Attribute):
            if isinstance(part.value, ast.Name) and part.value.id == self.own_name():
                return _held(self._owner, part.attr)
            known, holder = self.resolved(part.value)
            if known and isinstance(holder, ModuleType) and part.attr in vars(holder):
                return True, vars(holder)[part.attr]
        return False, None

    def own_name(self) -> str:
        """Give the name by which the method knows the module."""
        arguments = self._method.tree.args
        first = [*arguments.posonlyargs, *arguments.args]
        return first[0].arg if first else ""


@lru_cache(maxsize=256)
def parents(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    """Give the parent of every part of a syntax tree."""
    return {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}


@lru_cache(maxsize=256)
def _assignments(tree: ast.AST) -> dict[str, list[ast.expr | None]]:
    """List what is assigned to every local name; None for what is no assignment of its own."""
    found: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            parent = parents(tree)[node]
            value = parent.value if isinstance(parent, ast.Assign) and parent.targets == [node] else None
            found.setdefault(node.id, []).append(value)
        elif isinstance(node, ast.arg):
            found.setdefault(node.arg, []).append(None)
    return found


def parts_of(read: ast.AST) -> list[ast.expr]:
    """List the expressions that an expression reads: operands, arguments, the receiver of a method."""
    match read:
        case ast.Call(func=function, args=args, keywords=keywords):
            receiver = [function.value] if isinstance(function, ast.Attribute) else []
            several = [ast.Starred(word.value) for word in keywords if word.arg is None]
            return [*receiver, *args, *(word.value for word in keywords if word.arg is not None), *several]
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Compare(left=left, comparators=others):
            return [left, *others]
        case ast.AugAssign(target=target, value=value):
            return [target, value]
        case ast.Subscript(value=value) | ast.Attribute(value=value):
            return [value]
    return []


def _held(owner: nn.Module, name: str) -> tuple[bool, Any]:
    for held in (vars(owner), owner._parameters, owner._buffers, owner._modules):
        if name in held:
            return True, held[name]
    for kind in type(owner).__mro__:
        if name in vars(kind):
            value = vars(kind)[name]
            return (False, None) if isinstance(value, property) else (True, value)
    return False, None
