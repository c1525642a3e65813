"""Methods compiled again from their edited source, in a class of the module's own."""

from __future__ import annotations

import abc
import hashlib
import linecache
from collections.abc import Callable, Mapping, Sequence
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from torch import nn

from rewriter.errors import UsageError
from rewriter.surgery.edits import Edit, edited_lines
from rewriter.surgery.places import edit_error
from rewriter.tracing.source import Method, compiled, contents, functions, methods_named, nested, parsed

_Edits = tuple[tuple[Method, tuple[Edit, ...]], ...]

_RECORD = "_rewritten_from"  # in the namespace of a class that was made here
_KEPT = ("__module__", "__doc__", "__annotations__", "__firstlineno__", "__static_attributes__")

_classes: WeakKeyDictionary[type, WeakValueDictionary[object, type]] = WeakKeyDictionary()


def rewrite_methods(module: nn.Module, edits: Mapping[Method, Sequence[Edit]]) -> None:
    """Edit methods of one module: it gets a class of its own, derived from the one that it has.

    A method that the instance itself holds is replaced on the instance. The modules that the edits call are not
    needed yet. Modules of one class with the same edits share the new class.

    Args:
        module: whose methods are edited; nothing is changed unless everything can be.
        edits: of each of its methods, as `method_of` and `methods_named` find them.

    Raises:
        UsageError: an edit cannot be made.
    """
    kind = type(module)
    wanted: dict[FunctionType, tuple[Method, tuple[Edit, ...]]] = {}
    for method, changes in edits.items():
        known, before = wanted.get(method.function, (method, ()))
        wanted[method.function] = known, (*before, *changes)
    bound: dict[str, MethodType] = {}
    own: list[tuple[Method, tuple[Edit, ...]]] = []
    for function, (method, changes) in wanted.items():
        names = [
            name
            for name, value in vars(module).items()
            if isinstance(value, MethodType) and value.__self__ is module and _runs(value.__func__, kind, function)
        ]
        if names:
            new = _edited_function(method, changes)
            held = {name: bound.get(name, vars(module)[name]).__func__ for name in names}
            bound |= {name: MethodType(_wrapped_again(held[name], method, new), module) for name in names}
        if _holders(kind, function):
            own.append((method, changes))
        elif not names:
            raise edit_error(method, "a method that is reached in another way than by its name or by super()")
    if own:
        # What guards its attributes need not know: its code is what changes.
        object.__setattr__(module, "__class__", _rewritten_class(kind, tuple(own)))
    vars(module).update(bound)


def _rewritten_class(kind: type, edits: _Edits) -> type:
    key = tuple((method.attribute, method.digest, id(method.function), changes) for method, changes in edits)
    known = _classes.setdefault(kind, WeakValueDictionary())
    found = known.get(key)
    if found is None:
        found = known[key] = _new_class(kind, edits)
    return found


def _new_class(kind: Any, edits: _Edits) -> type:
    spaces: dict[type, dict[str, object]] = {}
    for method, changes in edits:
        new = _edited_function(method, changes)
        for holder, name in _holders(kind, method.function):
            first = next(base for base in kind.__mro__ if name in vars(base))
            space = spaces.setdefault(kind if first is holder else holder, {})
            space[name] = _wrapped_again(space.get(name, vars(holder)[name]), method, new)
    # A base further up that is called by super() is edited in a class that comes just ahead of it.
    between = [_subclass(base, (), spaces[base]) for base in kind.__mro__[1:] if base in spaces]
    record = (kind, edits)
    return _subclass(kind, between, {**spaces.get(kind, {}), _RECORD: record, "__reduce_ex__": _reduce_ex})


def _subclass(kind: Any, others: Sequence[type], space: Mapping[str, object]) -> type:
    # A user's own `__init_subclass__` or metaclass may count or refuse new classes: neither gets to know. As a module
    # the silent base leaves the layout of the instances as it is, so that they can change their class.
    silence = {"__slots__": (), "__init_subclass__": classmethod(lambda cls: None)}
    silent = type("Silent", (nn.Module,) if issubclass(kind, nn.Module) else (), silence)
    meta = type(kind)
    make = abc.ABCMeta.__new__ if issubclass(meta, abc.ABCMeta) else type.__new__
    kept = {name: vars(kind)[name] for name in _KEPT if name in vars(kind)}
    kept["__qualname__"] = kind.__qualname__
    made: type = make(meta, kind.__name__, (silent, kind, *others), {"__slots__": (), **kept, **space})
    return made


def _holders(kind: type, function: FunctionType) -> list[tuple[type, str]]:
    """List where the class holds a method that runs ``function`` and that a class derived from it can replace."""
    found = []
    for index, holder in enumerate(kind.__mro__):
        ahead = kind.__mro__[:index]
        for name, value in vars(holder).items():
            if _runs(value, kind, function) and (
                not any(name in vars(base) for base in ahead) or any(_calls_super(base, name) for base in ahead)
            ):
                found.append((holder, name))
    return found


def _runs(value: object, kind: type, function: FunctionType) -> bool:
    return any(inner is function for inner in functions(value, kind))


def _calls_super(kind: type, name: str) -> bool:
    codes = [c for value in vars(kind).values() for f in functions(value, kind) for c in nested(f.__code__)]
    return any({"super", name} <= {*code.co_names} for code in codes)


def _edited_function(method: Method, edits: Sequence[Edit]) -> FunctionType:
    old = method.function
    lines = edited_lines(method, edits)
    code = _compiled(method, lines)
    cells = dict(zip(old.__code__.co_freevars, old.__closure__ or (), strict=True))
    return _copied(old, code, tuple(cells[name] for name in code.co_freevars))


def _compiled(method: Method, lines: tuple[str, ...]) -> CodeType:
    like = method.function.__code__
    origin = like.co_filename.removeprefix("<").removesuffix(">").partition(" rewritten ")[0]
    digest = hashlib.sha256("".join((str(like.co_firstlineno), *lines)).encode()).hexdigest()[:12]
    filename = f"<{origin} rewritten {like.co_qualname} {digest}>"
    try:
        tree = parsed(lines, like.co_firstlineno)
        if tree is None:
            raise SyntaxError("no function")
        code = compiled(tree, like, filename)
    except (SyntaxError, ValueError, StopIteration) as error:
        raise edit_error(method, f"what Python cannot compile when it is edited ({error})") from error
    # Blank lines ahead give every line the number that it has in the user's file.
    shown = ["\n"] * (like.co_firstlineno - 1) + list(lines)
    linecache.cache[filename] = (sum(map(len, shown)), None, shown, filename)
    return code


def _copied(old: FunctionType, code: CodeType, cells: tuple[CellType, ...]) -> FunctionType:
    new = FunctionType(code, old.__globals__, old.__name__, old.__defaults__, cells)
    new.__dict__.update(old.__dict__)
    annotations = "__annotate__" if hasattr(old, "__annotate__") else "__annotations__"  # unevaluated, where they are
    for name in ("__kwdefaults__", "__doc__", annotations, "__qualname__", "__module__", "__type_params__"):
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))
    return new


def _wrapped_again(value: Any, method: Method, new: FunctionType) -> Any:
    """Give what is held as a method with ``new`` in it, under copies of the wrappers: no decorator runs again."""
    copies: dict[int, Any] = {id(method.function): new}

    def again(outer: Any, around: tuple[object, ...]) -> Any:
        if id(outer) in copies or not isinstance(outer, FunctionType) or any(outer is o for o in around):
            return copies.get(id(outer), outer)
        inside = {id(inner): again(inner, (*around, outer)) for inner in contents(outer)}
        if all(inside[id(inner)] is inner for inner in contents(outer)):
            return outer
        cells = tuple(_cell(cell, inside) for cell in outer.__closure__ or ())
        copies[id(outer)] = copy = _copied(outer, outer.__code__, cells)
        copy.__dict__.update({k: inside[id(v)] for k, v in outer.__dict__.items() if id(v) in inside})
        return copy

    result = again(value, ())
    if result is value:
        raise edit_error(method, "a wrapper around it that is edited too")
    return result


def _cell(cell: CellType, inside: Mapping[int, object]) -> CellType:
    try:
        content = cell.cell_contents
    except ValueError:  # not bound yet
        return cell
    return cell if inside[id(content)] is content else CellType(inside[id(content)])


class _ClassReference:
    """A class that was made here, for copies the same, in a pickle what it is made from."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def __deepcopy__(self, memo: object) -> _ClassReference:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        base, edits = vars(self.kind)[_RECORD]
        origin = _ClassReference(base) if _RECORD in vars(base) else base
        return _class_again, (origin, tuple((m.attribute, m.digest, changes) for m, changes in edits))


def _class_again(origin: type | _ClassReference, edits: Sequence[tuple[str, str, tuple[Edit, ...]]]) -> _ClassReference:
    base = origin.kind if isinstance(origin, _ClassReference) else origin
    found = tuple((method_with(base, attribute, digest), changes) for attribute, digest, changes in edits)
    return _ClassReference(_rewritten_class(base, found))


def method_with(kind: type, attribute: str, digest: str, module: nn.Module | None = None) -> Method:
    """Find the method of a class, or of the instance ``module`` of it, that has the source that was edited.

    Raises:
        UsageError: the source is another one now.
    """
    methods = list(methods_named(kind, attribute, module))
    for method in methods:
        if method.digest == digest:
            return method
    raise UsageError(
        expected=f"the source of {kind.__qualname__}.{attribute} that the model was rewritten with",
        found="another source" if methods else "no source that could be edited",
        remedy="install the version of the code that the model was rewritten with, or rewrite the model again",
    )


def _reduce_ex(module: nn.Module, protocol: Any) -> Any:
    kind = next(base for base in type(module).__mro__ if _RECORD in vars(base))
    first = base = kind
    while _RECORD in vars(base):
        first, base = base, vars(base)[_RECORD][0]
    reduced = super(first, module).__reduce_ex__(protocol)  # type: ignore[arg-type]
    if type(module) is not kind or isinstance(reduced, str):
        return reduced
    make, arguments, *rest = reduced
    # The class itself cannot be pickled by its name, which is that of the class it was made from.
    make, *arguments = (base if value is kind else value for value in (make, *arguments))
    added = {} if rest and rest[0] is not None else _called_modules(module, kind)
    return _module_again, (_ClassReference(kind), make, tuple(arguments), added), *rest


def _called_modules(module: nn.Module, kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while _RECORD in vars(kind):
        kind, edits = vars(kind)[_RECORD]
        names = {name for _, changes in edits for edit in changes for name in (edit.name, *edit.turns)}
        found |= {name: module._modules[name] for name in names if name in module._modules}
    return found


def _module_again(
    reference: _ClassReference, make: Callable[..., Any], arguments: tuple[Any, ...], added: Mapping[str, nn.Module]
) -> Any:
    module = make(*arguments)
    if type(module) in reference.kind.__mro__:
        object.__setattr__(module, "__class__", reference.kind)
    for name, part in added.items():
        module._modules[name] = part
    return module
