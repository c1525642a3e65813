from __future__ import annotations

import ast
import functools
import gc
import hashlib
import importlib.util
import linecache
import sys
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewriter.tracing.source import Method, method_of, methods_named, nested


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def plainly_wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(self: nn.Module, x: Tensor) -> Any:
        return function(self, F.relu(x))

    return wrapper


class Caller:
    """A decorator that is no function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __get__(self, owner: object, kind: type) -> Callable[..., Any]:
        return functools.partial(self.function, owner)


class Base(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Doc."""
        inner = lambda y: [F.relu(v) for v in y]  # noqa: E731
        return inner([x])[0]


class Block(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.__private(x))

    def __private(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")

    @torch.no_grad()
    @wrapped
    def decorated(
        self,
        x: Tensor,
    ) -> Tensor:
        return F.relu(x)  # the last line

    @plainly_wrapped
    def under_a_plain_wrapper(self, x: Tensor) -> Tensor:
        return F.relu(x)

    @Caller
    def called(self, x: Tensor) -> Tensor:
        return F.relu(x)

    @staticmethod
    def static(x: Tensor) -> Tensor:
        return F.relu(x)

    @property
    def computed(self) -> Tensor:
        return F.relu(torch.ones(1))

    as_lambda = lambda self, x: F.relu(x)  # noqa: E731


def code_of(function: Any) -> CodeType:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = function.__code__
    assert isinstance(code, CodeType)
    return code


def found(module: nn.Module, code: CodeType) -> Method:
    method = method_of(module, code)
    assert isinstance(method, Method), method
    return method


def loaded(path: Path, text: str) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def test_a_method_is_found_with_its_lines_as_they_stand_in_the_file() -> None:
    method = found(Block(), code_of(Block.decorated))
    here = Path(__file__).read_text().splitlines(keepends=True)
    start = method.function.__code__.co_firstlineno - 1
    assert (method.attribute, method.holder) == ("decorated", Block)
    assert "".join(method.lines) == "".join(here[start : start + len(method.lines)])
    assert method.lines[0] == "    @torch.no_grad()\n"
    assert method.lines[-1] == "        return F.relu(x)  # the last line\n"


def test_the_tree_has_the_lines_and_columns_of_the_file() -> None:
    method = found(Block(), code_of(Block.decorated))
    (call,) = (n for n in ast.walk(method.tree) if isinstance(n, ast.Call) and ast.unparse(n) == "F.relu(x)")
    line = Path(__file__).read_text().splitlines()[call.lineno - 1]
    assert line[call.col_offset : call.end_col_offset] == "F.relu(x)"


def test_the_digest_is_of_the_source_without_its_indentation() -> None:
    method = found(Base(), Base.forward.__code__)
    text = "".join(line.removeprefix("    ") for line in method.lines)
    assert method.digest == hashlib.sha256(text.encode()).hexdigest()


def test_code_inside_a_method_belongs_to_it() -> None:
    inner = list(nested(Base.forward.__code__))
    assert len(inner) >= 2
    assert {found(Block(), code).function for code in inner} == {Base.forward}


def test_the_holder_is_the_class_that_defines_the_method() -> None:
    assert found(Block(), Base.forward.__code__).holder is Base
    assert found(Block(), Block.forward.__code__).holder is Block


def test_a_private_method_is_found_under_its_mangled_name() -> None:
    code = vars(Block)["_Block__private"].__code__
    assert found(Block(), code).attribute == "_Block__private"


def test_a_method_is_found_under_a_wrapper_that_does_not_tell() -> None:
    wrapper = vars(Block)["under_a_plain_wrapper"]
    inner = wrapper.__closure__[0].cell_contents
    assert found(Block(), inner.__code__).function is inner
    assert found(Block(), wrapper.__code__).function is wrapper


def test_a_function_that_a_method_refers_to_is_none() -> None:
    def act(x: Tensor) -> Tensor:
        return F.relu(x)

    class Local(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return act(x)

    assert "no method" in str(method_of(Local(), act.__code__))


def test_a_local_class_and_its_free_variables_are_read() -> None:
    scale = 2

    class Local(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return super().half() and F.relu(x * scale)  # type: ignore[no-any-return]

    assert found(Local(), Local.forward.__code__).holder is Local


def test_a_method_of_the_instance_comes_first() -> None:
    module = Block()

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return F.relu(x)

    module.forward = types.MethodType(forward, module)  # type: ignore[method-assign]
    method = found(module, forward.__code__)
    assert (method.attribute, method.holder, method.function) == ("forward", None, forward)


@pytest.mark.parametrize("held", ["function", "partial"])
def test_a_function_that_the_instance_holds_is_refused(held: str) -> None:
    def forward(x: Tensor) -> Tensor:
        return F.relu(x)

    module = Block()
    vars(module)["forward"] = forward if held == "function" else functools.partial(forward)
    assert "not as a method" in str(method_of(module, forward.__code__))


@pytest.mark.parametrize(
    ("name", "get", "reason"),
    [
        ("called", lambda value: value.function, "decorated by something that is no Python function (Caller)"),
        ("static", lambda value: value.__func__, "decorated by something that is no Python function (staticmethod)"),
        ("computed", lambda value: value.fget, "decorated by something that is no Python function (property)"),
        ("as_lambda", lambda value: value, "a lambda"),
    ],
)
def test_other_kinds_of_methods_are_refused(name: str, get: Callable[[Any], FunctionType], reason: str) -> None:
    answer = method_of(Block(), get(vars(Block)[name]).__code__)
    assert isinstance(answer, str)
    assert reason in answer


def test_code_without_source_is_refused() -> None:
    space: dict[str, Any] = {}
    exec("def forward(self, x):\n    return x\n", space)
    kind = type("Made", (nn.Module,), {"forward": space["forward"]})
    assert "is not to be had" in str(method_of(kind(), space["forward"].__code__))


def test_source_in_the_line_cache_alone_is_read() -> None:
    text = "def forward(self, x):\n    return x\n"
    linecache.cache["<a cell>"] = (len(text), None, text.splitlines(keepends=True), "<a cell>")
    space: dict[str, Any] = {}
    exec(compile(text, "<a cell>", "exec"), space)
    kind = type("Made", (nn.Module,), {"forward": space["forward"]})
    assert found(kind(), space["forward"].__code__).lines == tuple(text.splitlines(keepends=True))


SOURCE = """
import torch.nn.functional as F
from torch import nn

class Block(nn.Module):
    def forward(self, x):
        return F.leaky_relu(x, 0.1)
"""


@pytest.mark.parametrize("change", [("leaky_relu", "elu"), ("0.1", "0.2"), ("        return", "\n        return")])
def test_source_that_is_not_what_runs_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    module = loaded(tmp_path / "changed.py", SOURCE)
    (tmp_path / "changed.py").write_text(SOURCE.replace(*change))
    assert "is not what runs" in str(method_of(module.Block(), module.Block.forward.__code__))


def test_a_module_that_is_loaded_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "again.py"
    before = loaded(path, SOURCE)
    old = found(before.Block(), before.Block.forward.__code__)
    after = loaded(path, SOURCE.replace("0.1", "0.25"))
    assert found(after.Block(), after.Block.forward.__code__).digest != old.digest


@pytest.mark.parametrize(
    "text",
    [
        "from __future__ import annotations\n" + SOURCE,
        SOURCE.replace("    def forward", "\n    if True:\n      def forward").replace(
            "        return", "          return"
        ),
        SOURCE.replace("    ", "\t"),
        SOURCE.replace("\n", "\r\n"),
        SOURCE.replace("F.leaky_relu(x, 0.1)", "F.relu(x) if x is not None else 'é🙂'"),
        SOURCE.replace(":\n        return", ": return"),
    ],
)
def test_source_of_every_shape_is_read(tmp_path: Path, text: str) -> None:
    module = loaded(tmp_path / "shape.py", text)
    assert found(module.Block(), module.Block.forward.__code__).attribute == "forward"


def test_methods_of_one_name_are_listed_in_the_order_of_their_lookup() -> None:
    assert [method.function for method in methods_named(Block, "forward")][:2] == [Block.forward, Base.forward]


def test_neither_modules_nor_classes_are_kept() -> None:
    class Local(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return super().half() and F.relu(x)  # type: ignore[no-any-return]

    module = Local()
    assert isinstance(method_of(module, Local.forward.__code__), Method)
    alive = weakref.ref(module), weakref.ref(Local)
    del module, Local
    gc.collect()
    assert [reference() for reference in alive] == [None, None]
