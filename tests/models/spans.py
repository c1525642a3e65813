"""Edits of a method, told by the text of what they replace."""

from __future__ import annotations

import ast
from typing import Any

from rewriter.surgery.edits import Edit, Span
from rewriter.tracing.source import Method


def edit(method: Method, expression: str, operand: str, name: str, *, nth: int = 0, **options: Any) -> Edit:
    """Replace the nth place where ``expression`` stands.

    The operand is the last place inside it where ``operand`` stands, or else the last place ahead of it.
    """
    statement = "assigned" in options
    (line, column, *end) = outer = spans(method, expression, statement=statement)[nth]
    places = spans(method, operand, statement=False)
    inside = [span for span in places if outer[:2] <= span[:2] and span[2:] <= tuple(end)]
    ahead = [span for span in places if span[2:] <= (line, column)]
    return Edit(name, outer, (inside or ahead)[-1], **options)


def spans(method: Method, text: str, *, statement: bool) -> list[Span]:
    """List where expressions, or statements, of the text stand, in the order of the source."""
    first = method.function.__code__.co_firstlineno
    wanted = ast.dump(ast.parse(text).body[0] if statement else ast.parse(text, mode="eval").body)
    found = []
    for node in ast.walk(method.tree):
        if isinstance(node, ast.stmt if statement else ast.expr) and ast.dump(_read(node)) == wanted:
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            found.append((node.lineno - first, node.col_offset, node.end_lineno - first, node.end_col_offset))
    return sorted(found)


def _read(node: ast.AST) -> ast.AST:
    parsed = ast.parse(ast.unparse(node))
    statement = parsed.body[0]
    return statement.value if isinstance(node, ast.expr) and isinstance(statement, ast.Expr) else statement
