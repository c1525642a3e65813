"""The methods of a module and their source, which is read only where it is what runs."""

from __future__ import annotations
import __future__

import ast
import hashlib
import inspect
import linecache
import symtable
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import CodeType, FunctionType, MethodType

from torch import nn

_FUTURE = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)


@dataclass(frozen=True, eq=False)
class Method:
    """A method of a module that runs: where it is held and what its source is.

    Attributes:
        attribute: its name on the class or the instance, such as ``forward``.
        function: the function whose code runs, under the decorators.
        holder: the class that defines it; None if the instance holds it.
        lines: its source as it stands in the file, decorators included; the first is ``co_firstlineno``.
        tree: the same, parsed, with the line numbers and columns of the file.
        digest: SHA-256 of the source without the indentation of its first line, in hexadecimal digits.
    """

    attribute: str
    function: FunctionType
    holder: type | None
    lines: tuple[str, ...]
    tree: ast.FunctionDef
    digest: str


def method_of(module: nn.Module, code: CodeType) -> Method | str:
    """Find the method in whose source ``code`` stands.

    Args:
        module: whose method it is.
        code: the code of the method, or of a lambda, a comprehension or a function inside it.

    Returns:
        The method, or the reason why there is none that could be edited.
    """
    for attribute, value in vars(module).items():
        if isinstance(value, MethodType) and value.__self__ is module:
            function = _function(value.__func__, type(module), code)
            if function is not None:
                return _method(attribute, function, None)
        elif _holds(value, code):
            return f"{attribute} is held on the module as a {type(value).__name__}, not as a method"
    kinds = type(module).__mro__
    # Nearly every method is found under the name that its code has; the other names serve the renamed.
    likely = [(kind, name) for name in code.co_qualname.split(".") for kind in kinds if name in vars(kind)]
    for holder, attribute in (*likely, *((kind, name) for kind in kinds for name in vars(kind))):
        value = vars(holder)[attribute]
        function = _function(value, type(module), code)
        if function is not None:
            return _method(attribute, function, holder)
        if not isinstance(value, FunctionType) and _holds(value, code):
            return f"{attribute} is decorated by something that is no Python function ({type(value).__name__})"
    return f"{code.co_qualname} is no method of {type(module).__name__}"


def methods_named(kind: type, attribute: str, module: nn.Module | None = None) -> Iterator[Method]:
    """Find every method of a class that stands under a name, and of the instance ``module`` if one is given.

    Those of the instance come first, then those of the class and of its bases in the order in which they are looked
    up; of each, the outermost decorator first. What has no source that could be edited is passed over.
    """
    held = vars(module).get(attribute) if module is not None else None
    places: list[tuple[type | None, object]] = [(holder, vars(holder).get(attribute)) for holder in kind.__mro__]
    if isinstance(held, MethodType) and held.__self__ is module:
        places.insert(0, (None, held.__func__))
    for holder, value in places:
        for function in functions(value, kind):
            method = _method(attribute, function, holder)
            if isinstance(method, Method):
                yield method


def functions(value: object, kind: type) -> Iterator[FunctionType]:
    """List what gets the module when it is called as a method of the class ``kind``: ``value`` and what it wraps.

    Other functions that a method refers to are passed over: what a wrapper wraps is told by ``__wrapped__``, or by
    being defined in the class.
    """
    seen: list[object] = []
    waiting = [(value, True)]
    while waiting:
        inner, is_method = waiting.pop(0)
        if not isinstance(inner, FunctionType) or any(inner is known for known in seen):
            continue
        seen.append(inner)
        around = inner.__code__.co_qualname.rpartition(".")[0]
        if is_method or any(around == base.__qualname__ for base in kind.__mro__):
            yield inner
        wrapped = getattr(inner, "__wrapped__", None)
        waiting += [(content, is_method and content is wrapped) for content in contents(inner)]


def contents(function: FunctionType) -> list[object]:
    """List what the free variables of a function hold; unbound ones are passed over."""
    held = []
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # not bound yet
            continue
    return held


def parsed(lines: Sequence[str], first: int) -> ast.FunctionDef | None:
    """Parse the source of one function, indented or not, whose first line has the number ``first``.

    Raises:
        SyntaxError: it is no Python.
    """
    indented = lines[0][:1].isspace()
    with warnings.catch_warnings(action="ignore"):  # the user has seen them
        statements = ast.parse(("if 1:\n" if indented else "") + "".join(lines)).body
    if indented and isinstance(statements[0], ast.If):
        statements = statements[0].body
    (tree,) = statements if len(statements) == 1 else [None]
    if not isinstance(tree, ast.FunctionDef):
        return None
    return ast.increment_lineno(tree, first - 1 - indented)


def compiled(tree: ast.FunctionDef, like: CodeType, filename: str, imported: Sequence[str] = ()) -> CodeType:
    """Compile a function as the code ``like`` was compiled: its class, its free variables and ``__future__`` features.

    Args:
        tree: the function.
        like: what it was compiled to before.
        filename: what its code names as its file.
        imported: names that the file imports: Python calls their attributes by other instructions to the same effect.

    Raises:
        SyntaxError: it cannot be compiled.
        ValueError: the same, for a tree that no source has.
    """
    owner = _class_name(like)
    free = sorted(set(like.co_freevars) - {"__class__"})
    # A name that is global where the function comes from must not become a variable of what stands around it here.
    outside = {owner or tree.name} - set(free)
    imports = [f"import {name}" for name in imported]
    around = [
        *imports,
        "def around():",
        *(f" global {name}" for name in outside),
        *(f" {name} = None" for name in free),
    ]
    template = ast.parse("\n".join([*around, *([f" class {owner}:", "  pass"] if owner else [" pass"])]))
    block: ast.AST = template.body[-1]
    if owner:
        assert isinstance(block, ast.FunctionDef)
        block = block.body[-1]
    assert isinstance(block, ast.FunctionDef | ast.ClassDef)
    block.body[-1:] = [tree] if owner else [*block.body[-1:], tree]
    with warnings.catch_warnings(action="ignore"):
        whole = compile(template, filename, "exec", flags=like.co_flags & _FUTURE, dont_inherit=True)
    code = next(c for c in nested(whole) if c.co_name == tree.name and c.co_firstlineno == like.co_firstlineno)
    return code.replace(co_qualname=like.co_qualname)


def _method(attribute: str, function: FunctionType, holder: type | None) -> Method | str:
    code = function.__code__
    linecache.lazycache(code.co_filename, function.__globals__)  # from a loader, where there is no file
    source = _source(code, code.co_filename)
    return source if isinstance(source, str) else Method(attribute, function, holder, *source)


@lru_cache(maxsize=1024)
def _source(code: CodeType, filename: str) -> tuple[tuple[str, ...], ast.FunctionDef, str] | str:
    # Equal codes of different files are equal keys, so the name of the file is one too.
    if code.co_name == "<lambda>":
        return "a lambda, which has no statements"
    tree = _tree(code, filename)
    if tree is None:
        linecache.checkcache(filename)  # the module may have been loaded anew from a file that has changed
        tree = _tree(code, filename)
    whole = linecache.getlines(filename)
    if tree is None or tree.end_lineno is None:
        return f"the source of {code.co_qualname} is not {'what runs' if whole else 'to be had'}"
    lines = tuple(whole[code.co_firstlineno - 1 : tree.end_lineno])
    indentation = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    text = "".join(line.removeprefix(indentation) for line in lines)
    return lines, tree, hashlib.sha256(text.encode()).hexdigest()


def _tree(code: CodeType, filename: str) -> ast.FunctionDef | None:
    """Parse the source of the code, if it is what runs."""
    whole = linecache.getlines(filename)
    try:
        lines = inspect.getblock(whole[code.co_firstlineno - 1 :])
        tree = parsed(lines, code.co_firstlineno)
        running = tree is not None and _same(compiled(tree, code, filename, _imported("".join(whole))), code)
    except (SyntaxError, ValueError, IndexError, StopIteration):
        return None
    return tree if running else None


@lru_cache(maxsize=64)
def _imported(text: str) -> tuple[str, ...]:
    indented = text.lstrip("\n")[:1].isspace()  # a method alone
    with warnings.catch_warnings(action="ignore"):
        symbols = symtable.symtable("if 1:\n" + text if indented else text, "", "exec").get_symbols()
    return tuple(symbol.get_name() for symbol in symbols if symbol.is_imported())


def _function(value: object, kind: type, code: CodeType) -> FunctionType | None:
    return next((f for f in functions(value, kind) if any(c is code for c in nested(f.__code__))), None)


def _holds(value: object, code: CodeType) -> bool:
    if isinstance(value, FunctionType):
        return any(inner is code for inner in nested(value.__code__))
    if isinstance(value, property):
        return _holds(value.fget, code)
    if isinstance(value, staticmethod | classmethod | partial | MethodType):
        return _holds(value.func if isinstance(value, partial) else value.__func__, code)
    held = getattr(value, "__dict__", None)
    return isinstance(held, dict) and any(isinstance(v, FunctionType) and _holds(v, code) for v in held.values())


def nested(code: CodeType) -> Iterator[CodeType]:
    """List a code object and those of the functions, lambdas and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def _class_name(code: CodeType) -> str:
    """Name the class in whose body the code stands, however deep: private names are mangled by it."""
    *outer, _ = names = code.co_qualname.split(".")
    classes = [name for name, inside in zip(outer, names[1:], strict=True) if "<locals>" not in (name, inside)]
    return classes[-1] if classes else ""


def _same(a: object, b: object) -> bool:
    if not (isinstance(a, CodeType) and isinstance(b, CodeType)):
        return type(a) is type(b) and (a == b if isinstance(a, frozenset) else repr(a) == repr(b))
    return (
        (a.co_code, a.co_names, a.co_varnames) == (b.co_code, b.co_names, b.co_varnames)
        and set(a.co_freevars) == set(b.co_freevars)
        and list(a.co_lines()) == list(b.co_lines())  # a line that moved may be like the one that stands there now
        and len(a.co_consts) == len(b.co_consts)
        and all(map(_same, a.co_consts, b.co_consts))
    )
