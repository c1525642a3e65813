"""Edits of the source of one method: calls of activations give way to calls of the module's own functions."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rewriter.errors import UsageError
from rewriter.surgery.places import Places, Span, edit_error
from rewriter.tracing.source import Method, nested


@dataclass(frozen=True)
class Edit:
    """The call of a function of the module in the place of an activation in its code.

    Attributes:
        name: the attribute of the module to call.
        expression: what is replaced: an expression, or a statement that changes a tensor in place.
        operand: the source of the value that the function gets: inside ``expression``, or an expression ahead of it.
        assigned: for a statement, the variable that gets the result.
        in_turn: ``name`` is an `nn.ModuleList` of a function for every time the call is made in one run of the method.
        turns: the same, where each of these functions is an attribute of its own: their names.
    """

    name: str
    expression: Span
    operand: Span
    assigned: str = ""
    in_turn: bool = False
    turns: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Region:
    """Text, from byte to byte, that gives way to other text, all but a part (``keep``) that others may change."""

    span: tuple[int, int]
    keep: tuple[int, int] | None
    before: str
    after: str

    def order(self) -> tuple[int, bool, int, bool]:
        """Sort by the beginning, insertions first, then from the outside to the inside."""
        start, end = self.span
        return start, end > start, -end, self.keep != self.span


def edited_lines(method: Method, edits: Sequence[Edit]) -> tuple[str, ...]:
    """Give the source of a method with edits made, as it would stand in the file.

    What no edit replaces stays, byte for byte. It stays on its lines, too, unless a function is called in turn and the
    method has no docstring and begins with a compound statement: then one line comes before it.

    Raises:
        UsageError: an edit is not of this source, two are of the same, or the function cannot be called there.
    """
    editor = _Editor(method, edits)
    return tuple(line.decode() for line in re.findall(rb"[^\n]*\n|[^\n]+", editor.text()))


class _Editor:
    def __init__(self, method: Method, edits: Sequence[Edit]) -> None:
        self._method, self._edits = method, edits
        self._places = Places(method)
        self._text = "".join(method.lines).encode()
        self._starts = list(accumulate((len(line.encode()) for line in method.lines), initial=0))
        codes = list(nested(method.function.__code__))
        self._variables = {n for c in codes for n in (*c.co_varnames, *c.co_cellvars, *c.co_freevars)}
        self._names = self._variables.union(*(c.co_names for c in codes))

    def text(self) -> bytes:
        regions = {region for edit in self._edits for region in self._regions(edit)}
        if len({edit.expression for edit in self._edits}) < len(self._edits):
            raise self._error("two edits of the same expression")
        return self._render((0, len(self._text)), sorted([*regions, *self._turns()], key=_Region.order))

    def _regions(self, edit: Edit) -> Iterator[_Region]:
        for name in (edit.name, edit.assigned or edit.name, *edit.turns):
            if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
                raise self._error(f"{name!r}, which cannot be the name of a function or a variable here")
        places = self._places
        expression, operand = places.node(edit.expression, bool(edit.assigned)), places.node(edit.operand, False)
        obstacle = places.obstacle(expression, operand, edit.assigned)
        if obstacle:
            raise self._error(obstacle)
        called = f"next({self._fresh(edit.name, 'turns')})" if edit.in_turn else f"{places.module}.{edit.name}"
        called = (f"{edit.assigned} = " if edit.assigned else "") + called
        span, inside = self._bytes(edit.expression), self._bytes(edit.operand)
        if span[0] <= inside[0] and inside[1] <= span[1]:
            yield _Region(span, inside, f"{called}(", ")")
        elif isinstance(operand, ast.Name) and places.unchanged(operand, expression):
            yield _Region(span, None, f"{called}({operand.id}", ")")
        else:
            sharing = next(e for e in self._edits if e.operand == edit.operand and e.expression[:2] >= e.operand[2:])
            kept = self._fresh(sharing.name, "input")
            bare = isinstance(operand, ast.NamedExpr)  # an assignment expression in another needs its parentheses
            yield _Region(inside, inside, f"({kept} := {'(' * bare}", ")" * (1 + bare))
            yield _Region(span, None, f"{called}({kept}", ")")

    def _turns(self) -> list[_Region]:
        names = {edit.name: edit.turns for edit in self._edits if edit.in_turn}
        if not names:
            return []
        if taken := {"iter", "next"} & (self._variables | self._method.function.__globals__.keys()):
            raise self._error(f"{min(taken)} as a name of its own, where Python's is needed")
        owner = self._places.module
        held = {
            n: f"({', '.join(f'{owner}.{t}' for t in turns)})" if turns else f"{owner}.{n}"
            for n, turns in names.items()
        }
        made = "; ".join(f"{self._fresh(name, 'turns')} = iter({text})" for name, text in held.items())
        statement, is_docstring, is_compound = self._places.first_statement()
        start, end = self._bytes(statement)
        if is_docstring:
            return [_Region((end, end), None, f"; {made}", "")]
        if is_compound:
            line = self._starts[statement[0]]
            return [_Region((line, line), None, f"{self._text[line:start].decode()}{made}\n", "")]
        return [_Region((start, start), None, f"{made}; ", "")]

    def _render(self, span: tuple[int, int], regions: list[_Region]) -> bytes:
        position, end = span
        done = b""
        while regions:
            region, *regions = regions
            (start, stop), keep = region.span, region.keep
            inner = [r for r in regions if r.span[0] < stop]
            regions = regions[len(inner) :]
            if any(keep is None or r.span[0] < keep[0] or r.span[1] > keep[1] for r in inner):
                raise self._error("two edits of the same source")
            done += self._text[position:start]
            if stop > start and re.search(rb"[\w\x80-\xff]$", done):
                done += b" "  # behind a keyword that stood at a parenthesis
            done += region.before.encode()
            if keep is None:
                done += self._breaks(start, stop)
            else:
                done += self._breaks(start, keep[0]) + self._render(keep, inner) + self._breaks(keep[1], stop)
            done += region.after.encode()
            position = stop
        return done + self._text[position:end]

    def _breaks(self, start: int, end: int) -> bytes:
        # The line breaks of text that goes away stay, inside the parentheses of the call.
        return b"".join(re.findall(rb"\n[ \t]*", self._text[start:end]))

    def _bytes(self, span: Span) -> tuple[int, int]:
        return self._starts[span[0]] + span[1], self._starts[span[2]] + span[3]

    def _fresh(self, name: str, suffix: str) -> str:
        fresh = f"{name}_{suffix}"
        while fresh in self._names:
            fresh += "_"
        return fresh

    def _error(self, found: str) -> UsageError:
        return edit_error(self._method, found)
