from __future__ import annotations

import ast
import dataclasses
import linecache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rewriter.errors import UsageError
from rewriter.surgery.edits import Edit, Span, edited_lines
from rewriter.tracing.source import Method, methods_named
from tests.models.spans import edit

# ruff: noqa: E702


# fmt: off
class Forms(nn.Module):
    def nested(self, x: Tensor) -> Tensor:
        # é🙂: columns are bytes
        return F.relu(self.b(F.gelu(self.a(x), approximate="tanh")))  # kept

    def chained(self, x: Tensor) -> Tensor:
        return(x + 1).relu().tanh()

    def several_lines(self, x: Tensor) -> Tensor:
        y = F.gelu(
            self.a(x),
            approximate="tanh",
        )
        return y + \
            1

    def formula(self, h: Tensor) -> Tensor:
        t = torch.tanh(h); y = 0.5 * h * (1 + t)
        return y

    def formula_of_a_call(self, h: Tensor) -> Tensor:
        t = torch.tanh(self.a(h))
        return 0.5 * self.a(h) * (1 + t)

    def formula_of_a_changed_variable(self, h: Tensor) -> Tensor:
        t = torch.tanh(h)
        h = h + 1
        return 0.5 * (h - 1) * (1 + t)

    def formula_assigned_to_its_variable(self, h: Tensor) -> Tensor:
        t = torch.tanh(h)
        h = 0.5 * h * (1 + t)
        return h

    def formula_in_a_loop(self, h: Tensor) -> Tensor:
        t = torch.tanh(h)
        for _ in range(2):
            h = 0.5 * h * (1 + t)
        return h

    def not_always(self, h: Tensor) -> Tensor:
        t = torch.sigmoid(h)
        if self.training:
            t = torch.tanh(h)
        return (t and torch.tanh(h + 1)) or 0.5 * h * (1 + t)

    def in_place(self, x: Tensor) -> Tensor:
        x *= torch.sigmoid(x)
        F.relu_(x)
        return x

    def scopes(self, x: Tensor) -> Tensor:
        t = torch.tanh(x)
        inner = lambda self, y: F.relu(y)  # noqa: E731
        outer = lambda y: 0.5 * y * (1 + t)  # noqa: E731

        def change() -> Tensor:
            F.relu_(x)
            return x

        return inner(self, outer(change()))

    def binding(self, x: Tensor) -> Tensor:
        return (y := x + 1) * torch.sigmoid(y)

    def rebound(self, x: Tensor) -> Tensor:
        self = self.a
        return F.relu(x)

    def turns(self, x: Tensor) -> Tensor:
        y = x
        return F.relu(F.relu(y))

    def turns_after_a_docstring(self, x: Tensor) -> Tensor:
        """Doc."""  # a comment
        for _ in range(2):
            x = F.relu(x)
        return x

    def turns_in_a_loop(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = F.relu(x)
        return x

    def turns_with_names_taken(self, x: Tensor) -> Tensor:
        n_turns = x
        return F.relu(n_turns)

    def turns_without_next(self, x: Tensor) -> Tensor:
        next = x
        return F.relu(next)

    def under_no_name(*args: Any) -> Tensor:
        return F.relu(args[1])
# fmt: on


def method(name: str) -> Method:
    return next(methods_named(Forms, name))


def body(name: str, *edits: Edit) -> list[str]:
    return [line.strip() for line in edited_lines(method(name), edits)][1:]


def of(name: str, *arguments: str, **options: Any) -> Edit:
    return edit(method(name), *arguments, **options)


def with_value(name: str, expression: str, user: str, value: str) -> Edit:
    """Replace an expression, with the value that another one uses as its operand."""
    outer, inner = (edit(method(name), text, part, "n") for text, part in ((expression, "t"), (user, value)))
    return dataclasses.replace(outer, operand=inner.operand)


def test_edits_nest_and_all_else_stays_byte_for_byte() -> None:
    inner = of("nested", "F.gelu(self.a(x), approximate='tanh')", "self.a(x)", "n")
    outer = of(
        "nested",
        "F.relu(self.b(F.gelu(self.a(x), approximate='tanh')))",
        "self.b(F.gelu(self.a(x), approximate='tanh'))",
        "m",
    )
    old = method("nested").lines
    new = edited_lines(method("nested"), [inner, outer])
    assert new[:-1] == old[:-1]
    assert new[-1] == "        return self.m(self.b(self.n(self.a(x))))  # kept\n"


def test_calls_in_a_chain_nest_and_a_keyword_keeps_its_distance() -> None:
    edits = of("chained", "(x + 1).relu().tanh()", "(x + 1).relu()", "m"), of("chained", "(x + 1).relu()", "x + 1", "n")
    assert body("chained", *edits) == ["return self.m(self.n(x + 1))"]


def test_line_breaks_stay() -> None:
    new = body("several_lines", of("several_lines", "F.gelu(self.a(x), approximate='tanh')", "self.a(x)", "n"))
    assert new == ["y = self.n(", "self.a(x)", "", ")", "return y + \\", "1"]


def test_a_variable_ahead_is_read_again_where_it_has_not_changed() -> None:
    changed = with_value("formula", "0.5 * h * (1 + t)", "torch.tanh(h)", "h")
    assert body("formula", changed)[0] == "t = torch.tanh(h); y = self.n(h)"


@pytest.mark.parametrize(
    ("name", "value", "expression"),
    [
        ("formula_of_a_call", "self.a(h)", "0.5 * self.a(h) * (1 + t)"),
        ("formula_of_a_changed_variable", "h", "0.5 * (h - 1) * (1 + t)"),
        ("formula_in_a_loop", "h", "0.5 * h * (1 + t)"),
    ],
)
def test_another_value_ahead_is_kept(name: str, value: str, expression: str) -> None:
    new = body(name, with_value(name, expression, f"torch.tanh({value})", value))
    assert new[0] == f"t = torch.tanh((n_input := {value}))"
    assert any("self.n(n_input)" in line for line in new)


def test_edits_share_a_value_that_is_kept() -> None:
    name = "formula_of_a_call"
    value = of(name, "torch.tanh(self.a(h))", "self.a(h)", "n")
    both = dataclasses.replace(of(name, "0.5 * self.a(h) * (1 + t)", "t", "m"), operand=value.operand)
    other = dataclasses.replace(of(name, "1 + t", "t", "o"), operand=value.operand)
    assert body(name, value, both) == ["t = self.n((m_input := self.a(h)))", "return self.m(m_input)"]
    with pytest.raises(UsageError, match="two edits of the same source"):
        body(name, both, other)


def test_a_formula_may_be_assigned_to_its_variable() -> None:
    name = "formula_assigned_to_its_variable"
    changed = with_value(name, "0.5 * h * (1 + t)", "torch.tanh(h)", "h")
    assert body(name, changed)[1] == "h = self.n(h)"


@pytest.mark.parametrize("ahead", ["torch.tanh(h)", "torch.tanh(h + 1)"])
def test_a_value_that_is_not_always_known_is_refused(ahead: str) -> None:
    changed = with_value("not_always", "0.5 * h * (1 + t)", ahead, ahead.removeprefix("torch.tanh(")[:-1])
    with pytest.raises(UsageError, match="not always known"):
        body("not_always", changed)


def test_a_value_behind_the_call_is_refused() -> None:
    operand = of("formula", "y", "y", "n", nth=-1).operand
    changed = dataclasses.replace(of("formula", "torch.tanh(h)", "h", "n"), operand=operand)
    with pytest.raises(UsageError, match="not always known"):
        body("formula", changed)


def test_statements_assign_the_result() -> None:
    product = of("in_place", "x *= torch.sigmoid(x)", "x", "n", assigned="x")
    call = of("in_place", "F.relu_(x)", "x", "m", assigned="x")
    assert body("in_place", product, call) == ["x = self.n(x)", "x = self.m(x)", "return x"]


def test_a_statement_in_another_function_than_its_variable_is_refused() -> None:
    with pytest.raises(UsageError, match="no variable of the function"):
        body("scopes", of("scopes", "F.relu_(x)", "x", "n", assigned="x"))


def test_a_call_where_self_is_another_value_is_refused() -> None:
    with pytest.raises(UsageError, match="Lambda around the call, where self is not the module"):
        body("scopes", of("scopes", "F.relu(y)", "y", "n"))
    with pytest.raises(UsageError, match="another value given to self"):
        body("rebound", of("rebound", "F.relu(x)", "x", "n"))
    with pytest.raises(UsageError, match="no first parameter"):
        body("under_no_name", of("under_no_name", "F.relu(args[1])", "args[1]", "n"))


def test_a_value_from_another_scope_is_refused() -> None:
    changed = with_value("scopes", "0.5 * y * (1 + t)", "torch.tanh(x)", "x")
    with pytest.raises(UsageError, match="different scopes"):
        body("scopes", changed)


def test_a_binding_does_not_go_away() -> None:
    whole = of("binding", "(y := x + 1) * torch.sigmoid(y)", "y", "n")
    with pytest.raises(UsageError, match="NamedExpr that would go away"):
        body("binding", whole)
    kept = dataclasses.replace(whole, operand=of("binding", "(y := x + 1)", "(y := x + 1)", "n").operand)
    assert body("binding", kept) == ["return self.n(y := x + 1)"]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("turns", ["n_turns = iter(self.n); y = x", "return next(n_turns)(next(n_turns)(y))"]),
        (
            "turns_after_a_docstring",
            ['"""Doc."""; n_turns = iter(self.n)  # a comment', "for _ in range(2):", "x = next(n_turns)(x)"],
        ),
        ("turns_in_a_loop", ["n_turns = iter(self.n)", "for _ in range(2):", "x = next(n_turns)(x)"]),
        ("turns_with_names_taken", ["n_turns_ = iter(self.n); n_turns = x", "return next(n_turns_)(n_turns)"]),
    ],
)
def test_functions_are_called_in_turn(name: str, start: list[str]) -> None:
    texts = {"turns": [("F.relu(F.relu(y))", "F.relu(y)"), ("F.relu(y)", "y")]}
    default = [("F.relu(n_turns)", "n_turns")] if "taken" in name else [("F.relu(x)", "x")]
    edits = [of(name, *text, "n", in_turn=True) for text in texts.get(name, default)]
    assert body(name, *edits)[: len(start)] == start


def test_turns_need_pythons_own_next() -> None:
    with pytest.raises(UsageError, match="next as a name of its own"):
        body("turns_without_next", of("turns_without_next", "F.relu(next)", "next", "n", in_turn=True))


@pytest.mark.parametrize("name", ["n; import os", "__n", "class", "", "a.b"])
def test_a_recipe_brings_no_code(name: str) -> None:
    good = of("formula", "torch.tanh(h)", "h", "n")
    with pytest.raises(UsageError, match="cannot be the name"):
        body("formula", dataclasses.replace(good, name=name))
    if name:
        with pytest.raises(UsageError, match="cannot be the name"):
            body("formula", dataclasses.replace(good, assigned=name))


def test_two_edits_of_one_expression_are_refused() -> None:
    first = of("formula", "torch.tanh(h)", "h", "n")
    with pytest.raises(UsageError, match="two edits of the same expression"):
        body("formula", first, dataclasses.replace(first, name="m"))


@given(st.tuples(*[st.integers(0, 40)] * 4), st.tuples(*[st.integers(0, 40)] * 4))
def test_spans_of_anything_else_are_refused(expression: Any, operand: Any) -> None:
    try:
        lines = edited_lines(method("formula"), [Edit("n", expression, operand)])
    except UsageError:
        return
    compile("if 1:\n" + "".join(lines), "", "exec")


def from_text(expression: str) -> Method:
    text = f"def forward(self, x):\n    return (  # kept\n        {expression}\n    )\n"
    name = f"<{hash(text)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict[str, Any] = {}
    exec(compile(text, name, "exec"), space)
    return next(methods_named(type("Made", (nn.Module,), {"forward": space["forward"]}), "forward"))


EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "self.é(x)", "(x)"]),
    lambda inner: st.one_of(
        st.builds("F.relu({})".format, inner),
        st.builds("F.relu(\n            {},  # gone\n        )".format, inner),
        st.builds("({}).relu()".format, inner),
        st.builds("({} + {})".format, inner, inner),
        st.builds("[F.relu( v ) for v in {}]".format, inner),
        st.builds("{} if not({}).relu() else 'é🙂'".format, st.just("x"), inner).map("({})".format),
    ),
    max_leaves=8,
)


class ByHand(ast.NodeTransformer):
    """The oracle: the same edits of the syntax tree."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        assert isinstance(node.func, ast.Attribute)
        if node.func.attr == "relu":
            operand = node.args[0] if node.args else node.func.value
            return ast.Call(ast.parse("self.n", mode="eval").body, [operand], [])
        return node


@settings(max_examples=60)
@given(EXPRESSIONS)
def test_any_number_of_edits_give_the_source_written_by_hand(expression: str) -> None:
    method = from_text(expression)
    calls = [n for n in ast.walk(method.tree) if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "relu"]
    operands = [call.args[0] if call.args else call.func.value for call in calls]  # type: ignore[attr-defined]
    edits = [Edit("n", where(call), where(operand)) for call, operand in zip(calls, operands, strict=True)]
    new = edited_lines(method, edits)
    assert ast.dump(ast.parse("".join(new))) == ast.dump(ByHand().visit(ast.parse("".join(method.lines))))
    assert len(new) == len(method.lines)
    assert new[1] == "    return (  # kept\n"


def where(node: ast.expr) -> Span:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno - 1, node.col_offset, node.end_lineno - 1, node.end_col_offset
