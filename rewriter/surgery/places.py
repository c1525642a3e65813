"""Places in the source of one method: what stands at a span, and what could go wrong if it is replaced."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from rewriter.errors import UsageError
from rewriter.tracing.source import Method, nested, parsed

Span = tuple[int, int, int, int]
"""Line, column, end line, end column: lines count from the method's first, which is 0; columns are UTF-8 bytes."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NOT_ALWAYS_RUN = (ast.BoolOp, ast.IfExp, ast.Compare, ast.match_case, ast.ExceptHandler, ast.Lambda, *_COMPREHENSIONS)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


class Places:
    """The syntax tree of a method, with what stands around every part of it.

    Attributes:
        module: the name of the first parameter, which is the module.

    Raises:
        UsageError: the method has no first parameter, or gives its name to something else.
    """

    def __init__(self, method: Method) -> None:
        self._method = method
        tree = parsed(method.lines, 0)
        assert tree is not None
        self._tree = tree
        self._parents: dict[ast.AST, ast.AST] = {}
        self._spans: dict[tuple[Span, bool], ast.stmt | ast.expr] = {}
        for statement in tree.body:  # not the decorators and the defaults, which run elsewhere
            self._parents[statement] = tree
            for node in ast.walk(statement):
                self._parents.update((child, node) for child in ast.iter_child_nodes(node))
                if isinstance(node, ast.stmt | ast.expr):
                    self._spans.setdefault((_span(node), isinstance(node, ast.stmt)), node)
        arguments = [*tree.args.posonlyargs, *tree.args.args]
        if not arguments:
            raise self._error("no first parameter, through which the module could be reached")
        self.module = arguments[0].arg
        if self.module in _stored(tree):
            raise self._error(f"another value given to {self.module}")

    def node(self, span: Span, is_statement: bool) -> ast.stmt | ast.expr:
        """Find the expression or statement that fills a span.

        Raises:
            UsageError: there is none.
        """
        found = self._spans.get((span, is_statement))
        if found is None or (is_statement and not isinstance(found, ast.AugAssign | ast.Expr)):
            raise self._error(f"nothing to replace at {span} of its source")
        return found

    def first_statement(self) -> tuple[Span, bool, bool]:
        """Give the span of the first statement, whether it is a docstring, and whether it is a compound statement."""
        first = self._tree.body[0]
        value = first.value if isinstance(first, ast.Expr) else None
        is_docstring = isinstance(value, ast.Constant) and isinstance(value.value, str)
        decorators = getattr(first, "decorator_list", [])
        _, column, end, end_column = _span(first)
        line = min(part.lineno for part in (first, *decorators))
        return (line, column, end, end_column), is_docstring, hasattr(first, "body") or isinstance(first, ast.Match)

    def obstacle(self, expression: ast.AST, operand: ast.AST, assigned: str) -> str:
        """Say why the module's function could not take the place of ``expression`` and be given ``operand``, or ``""``.

        Args:
            expression: the expression or statement that would go away.
            operand: inside it, or somewhere else.
            assigned: for a statement, the variable that would get the result.
        """
        scopes = self._scopes(expression)
        for scope in scopes:
            if isinstance(scope, ast.ClassDef) or self.module in {*_arguments(scope), *_stored(scope)}:
                return f"a {type(scope).__name__} around the call, where {self.module} is not the module"
        if self._scopes(operand) != scopes:
            return "the value and the call in different scopes"
        kept = set(ast.walk(operand)) if expression in self._around(operand) or operand is expression else set()
        for node in ast.walk(expression):
            if node not in kept and isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
                return f"a {type(node).__name__} that would go away"
            if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Del):
                return "a variable that is deleted"
        if isinstance(expression, ast.expr) and not isinstance(getattr(expression, "ctx", ast.Load()), ast.Load):
            return "a variable that is assigned to"
        if any(isinstance(node, ast.JoinedStr) for node in self._around(expression)):
            return "an f-string around the call"
        if assigned and assigned not in self._variables(scopes):
            return f"{assigned}, which is no variable of the function in which the call stands"
        if not kept and not self._runs_ahead(operand, expression):
            return "a value that is not always known where the call is made"
        return ""

    def unchanged(self, variable: ast.Name, expression: ast.AST) -> bool:
        """Tell whether a local variable has the same value at ``variable`` and at ``expression``, which comes later."""
        if self._scopes(variable) or variable.id not in self._variables([]):
            return False
        first, last = self._statement(variable), self._statement(expression)
        loops = [n for n in self._around(expression) if isinstance(n, _LOOPS) and n not in self._around(variable)]
        repeated = {node for loop in loops for node in ast.walk(loop)}
        targets = (
            {n for target in getattr(last, "targets", []) for n in ast.walk(target)} if last is not first else set()
        )
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name):
                if node.id != variable.id or isinstance(node.ctx, ast.Load):
                    continue
                between = _span(first)[:2] <= _span(node)[:2] < _span(expression)[:2] and node not in targets
                if between or node in repeated:
                    return False
            elif variable.id in _bound_otherwise(node):
                return False
        return True

    def _runs_ahead(self, operand: ast.AST, expression: ast.AST) -> bool:
        statement = self._statement(operand)
        block = next(b for b in _blocks(self._parents[statement]) if statement in b)
        around = [expression, *self._around(expression)]
        later = next((n for n in around if n in block), None)
        if not isinstance(later, ast.stmt) or block.index(later) < block.index(statement):
            return False
        conditions: list[ast.AST] = []
        for node in self._around(operand):
            conditions.append(node)
            if node is statement or node in around:
                break
        if any(isinstance(node, _NOT_ALWAYS_RUN) for node in conditions):
            return False
        if later is not statement:
            return True
        # Targets are evaluated last, though they are written first.
        targets = [node for target in getattr(statement, "targets", []) for node in ast.walk(target)]
        return _span(operand)[2:] <= _span(expression)[:2] and operand not in targets

    def _around(self, node: ast.AST) -> list[ast.AST]:
        around = []
        while node is not self._tree:
            node = self._parents[node]
            around.append(node)
        return around

    def _statement(self, node: ast.AST) -> ast.stmt:
        return next(n for n in (node, *self._around(node)) if isinstance(n, ast.stmt))

    def _scopes(self, node: ast.AST) -> list[ast.AST]:
        """List the functions, classes and comprehensions in which a part is evaluated, the innermost first."""
        scopes: list[ast.AST] = []
        first_iterable = False
        for around in self._around(node):
            if around is self._tree:
                break
            if isinstance(around, _COMPREHENSIONS):
                if not first_iterable:
                    scopes.append(around)
            elif isinstance(around, (*_FUNCTIONS, ast.ClassDef)):
                if node in around.body:
                    scopes.append(around)
            elif isinstance(around, ast.Lambda) and node is around.body:
                scopes.append(around)
            first_iterable = (
                isinstance(around, ast.comprehension)
                and node is around.iter
                and around is getattr(self._parents[around], "generators", [None])[0]
            )
            node = around
        return scopes

    def _variables(self, scopes: list[ast.AST]) -> set[str]:
        code = self._method.function.__code__
        function = next((scope for scope in scopes if isinstance(scope, _FUNCTIONS)), None)
        if function is not None:
            line = min(part.lineno for part in (function, *function.decorator_list)) + code.co_firstlineno
            code = next(c for c in nested(code) if (c.co_name, c.co_firstlineno) == (function.name, line))
        return {*code.co_varnames, *code.co_cellvars}

    def _error(self, found: str) -> UsageError:
        return edit_error(self._method, found)


def edit_error(method: Method, found: str) -> UsageError:
    """Say why a method cannot be edited as asked."""
    return UsageError(
        expected=f"a place in {method.function.__code__.co_qualname} where a function of the module can be called",
        found=found,
        remedy="apply the recipe to the model it was made for, or leave the site out",
    )


def _span(node: ast.AST) -> Span:
    assert isinstance(node, ast.stmt | ast.expr)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, [])
        yield block if isinstance(block, list) else []


def _arguments(scope: ast.AST) -> set[str]:
    arguments = getattr(scope, "args", None)
    return {node.arg for node in ast.walk(arguments) if isinstance(node, ast.arg)} if arguments else set()


def _stored(scope: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(scope) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}


def _bound_otherwise(node: ast.AST) -> set[str]:
    """Give the names that a part binds without naming a variable: in imports, patterns, handlers and definitions."""
    names = {getattr(node, field, None) for field in ("name", "asname", "rest")}
    return {name for name in (*names, *getattr(node, "names", ())) if isinstance(name, str)}
