from __future__ import annotations

import abc
import copy
import functools
import gc
import importlib.util
import inspect
import linecache
import pickle
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional, Self

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewriter.errors import UsageError
from rewriter.surgery.source import method_with, rewrite_methods
from rewriter.tracing.source import Method, method_of, methods_named
from tests.models.spans import edit


class Shift(nn.Module):
    """The new function: unlike any activation, so that a call of the old one shows."""

    def __init__(self, by: float = 1.0) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Doc."""
        return F.relu(self.fc(x)) * 2


class ByHand(Base):
    new: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        return self.new(self.fc(x)) * 2


class Sub(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.gelu(x))


class Left(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class Right(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 3


class Diamond(Left, Right):
    pass


class Unannounced(Base):
    made = 0

    def __init_subclass__(cls) -> None:
        raise TypeError("no subclasses")


class Meta(abc.ABCMeta):
    def __init__(cls, *args: Any) -> None:
        if args[1] and args[1][0] is not Base:
            raise TypeError("no more classes")
        super().__init__(*args)


class WithMeta(Base, metaclass=Meta):
    pass


class Slots(Base):
    __slots__ = ("kept",)


class Reduced(Base):
    def __reduce__(self) -> Any:
        return type(self), ()


class Stateful(Base):
    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "packed": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        assert state.pop("packed")
        vars(self).update(state)
        self.restored = True


class NotASuperCall(Base):
    def forward(self, x: Tensor) -> Tensor:
        return Base.forward(self, x)


class Decorated(Base):
    @torch.no_grad()
    @wrapped
    def forward(self, x: Tensor, *, scale: int = 2) -> Tensor:
        return F.relu(self.fc(x)) * scale

    again = forward


class Private(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.__act(self.fc(x)) * 2

    def __act(self, x: Tensor) -> Tensor:
        return F.relu(x)


class Repeated(Base):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = F.relu(x)
        return sum(F.relu(v) for v in (x, x))  # type: ignore[return-value]


class Scripted(Base):
    scale: int | None

    def __init__(self) -> None:
        super().__init__()
        self.scale = None

    def forward(self, x: Tensor) -> Tensor:
        """Doc
        of two lines."""
        t = torch.tanh(x)
        x = 0.5 * x * (1 + t)
        scale = self.scale
        if scale is not None:
            x = x * scale
        return F.relu(
            self.fc(x),
        )


Scripted.__annotations__["scale"] = Optional[int]  # noqa: UP045 (TorchScript reads no other)
X = torch.randn(3, 4)


def first(kind: type, name: str = "forward", *, where: str = "") -> Method:
    return next(method for method in methods_named(kind, name) if where in "".join(method.lines))


def rewritten(module: nn.Module, method: Method | None = None, call: str = "F.relu(self.fc(x))") -> Any:
    method = method or first(type(module), where=call)
    operand = call.partition("(")[2][:-1]
    module.add_module("new", Shift())
    rewrite_methods(module, {method: [edit(method, call, operand, "new")]})
    return module


def oracle(module: nn.Module) -> Tensor:
    by_hand = ByHand()
    by_hand.fc, by_hand.new = module.fc, Shift()
    result: Tensor = by_hand(X)
    return result


def test_the_module_does_what_the_edit_written_by_hand_does() -> None:
    module = rewritten(Base())
    assert torch.equal(module(X), oracle(module))


def test_the_class_and_its_other_modules_stay_what_they_were() -> None:
    other, module = Base(), rewritten(Base())
    assert torch.equal(other(X), F.relu(other.fc(X)) * 2)
    assert isinstance(module, Base)
    kind = type(module)
    assert (kind.__name__, kind.__qualname__, kind.__module__, kind.__doc__) == (
        Base.__name__,
        Base.__qualname__,
        Base.__module__,
        Base.__doc__,
    )
    assert kind.forward.__doc__ == "Doc."
    assert kind.forward.__annotations__ == Base.forward.__annotations__


def test_equal_edits_of_equal_classes_share_a_class() -> None:
    assert type(rewritten(Base())) is type(rewritten(Base()))


def test_a_method_of_a_base_is_reached_by_super() -> None:
    module = rewritten(Sub())
    assert torch.equal(module(X), (module.fc(F.gelu(X)) + 1) * 2)


def test_a_method_and_the_one_it_calls_by_super_are_edited_together() -> None:
    module, own, base = Sub(), first(Sub), first(Base)
    module.a, module.b = Shift(1), Shift(2)
    rewrite_methods(
        module,
        {own: [edit(own, "F.gelu(x)", "x", "a")], base: [edit(base, "F.relu(self.fc(x))", "self.fc(x)", "b")]},
    )
    assert torch.equal(module(X), (module.fc(X + 1) + 2) * 2)


def test_super_goes_once_through_a_diamond() -> None:
    module = rewritten(Diamond())
    assert torch.equal(module(X), (module.fc(X) + 1) * 2 * 3 + 1)


def test_methods_along_a_line_of_bases_are_edited_in_their_order() -> None:
    class Middle(Base):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(super().forward(x))

    class Last(Middle):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    module = Last()
    module.a, module.b = Shift(1), Shift(2)
    for kind, call, name in ((Base, "F.relu(self.fc(x))", "a"), (Middle, "F.relu(super().forward(x))", "b")):
        method = first(kind)
        rewrite_methods(module, {method: [edit(method, call, call[len("F.relu(") : -1], name)]})
    assert torch.equal(module(X), (module.fc(X) + 1) * 2 + 2)


def test_a_base_that_is_called_by_its_name_is_refused() -> None:
    with pytest.raises(UsageError, match="another way than by its name or by super"):
        rewritten(NotASuperCall(), first(Base))


@pytest.mark.parametrize("kind", [Unannounced, WithMeta])
def test_what_guards_its_subclasses_is_not_told(kind: type[nn.Module]) -> None:
    module = rewritten(kind())
    assert torch.equal(module(X), oracle(module))
    assert type(type(module)) is type(kind)
    assert not isinstance(kind(), type(module))


def test_slots_keep_their_values() -> None:
    module = Slots()
    module.kept = "value"
    assert rewritten(module).kept == "value"


def test_wrappers_stay_and_decorators_do_not_run_again() -> None:
    module = Decorated()
    method = next(m for m in methods_named(Decorated, "forward") if m.function.__code__.co_name == "forward")
    rewritten(module, method)
    result = module(X, scale=3)
    assert torch.equal(result, (module.fc(X) + 1) * 3)
    assert not result.requires_grad
    assert inspect.signature(type(module).forward) == inspect.signature(Decorated.forward)


def test_another_name_of_the_method_is_edited_with_it() -> None:
    module = Decorated()
    method = next(m for m in methods_named(Decorated, "forward") if m.function.__code__.co_name == "forward")
    assert torch.equal(rewritten(module, method).again(X), (module.fc(X) + 1) * 2)


def test_private_names_stay_private() -> None:
    module = Private()
    rewritten(module, first(Private, "_Private__act"), "F.relu(x)")
    assert torch.equal(module(X), oracle(module))
    forward = first(type(module), "forward", where="__act")
    rewrite_methods(module, {forward: [edit(forward, "self.__act(self.fc(x))", "self.fc(x)", "new")]})
    assert torch.equal(module(X), oracle(module))


def test_free_variables_stay_shared() -> None:
    scale = 2

    class Local(Base):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.fc(x)) * scale if isinstance(self, Local) else x

    module = rewritten(Local())
    assert torch.equal(module(X), oracle(module))
    scale = 5
    assert torch.equal(module(X), (module.fc(X) + 1) * 5)


def test_a_method_of_the_instance_is_replaced_on_the_instance() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return F.relu(self.fc(x)) * 2

    module = Base()
    module.forward = types.MethodType(forward, module)  # type: ignore[method-assign]
    method = method_of(module, forward.__code__)
    assert isinstance(method, Method)
    rewritten(module, method)
    assert type(module) is Base
    assert torch.equal(module(X), oracle(module))
    duplicate = copy.deepcopy(module)
    duplicate.new.by = 7
    assert torch.equal(duplicate(X), (duplicate.fc(X) + 7) * 2)


def test_a_method_that_the_instance_holds_too_is_replaced_in_both_places() -> None:
    module = Base()
    module.saved = module.forward
    method = method_of(module, Base.forward.__code__)
    assert isinstance(method, Method)
    rewritten(module, method)
    assert torch.equal(module(X), oracle(module))
    assert torch.equal(module.saved(X), oracle(module))


def test_a_rewritten_module_is_rewritten_again() -> None:
    module = Sub()
    rewritten(module)
    method = first(type(module), where="F.gelu")
    module.add_module("other", Shift(2))
    rewrite_methods(module, {method: [edit(method, "F.gelu(x)", "x", "other")]})
    edited = first(type(module), where="self.new")
    rewrite_methods(module, {edited: [edit(edited, "self.new(self.fc(x))", "self.fc(x)", "other")]})
    assert torch.equal(module(X), (module.fc(X + 2) + 2) * 2)
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(again) is type(module)
        assert torch.equal(again(X), module(X))


def test_nothing_changes_where_an_edit_fails() -> None:
    module, method = Sub(), first(Sub)
    bad = edit(first(Base), "F.relu(self.fc(x))", "self.fc(x)", "new")
    good = edit(method, "F.gelu(x)", "x", "new")
    with pytest.raises(UsageError):
        rewrite_methods(module, {method: [good], first(Base): [bad, bad]})
    assert type(module) is Sub


def test_functions_are_called_in_turn_by_every_thread() -> None:
    module, method = Repeated(), first(Repeated)
    module.new = nn.ModuleList(Shift(10.0**i) for i in range(4))
    calls = [edit(method, f"F.relu({x})", x, "new", in_turn=True) for x in ("x", "v")]
    rewrite_methods(module, {method: calls})
    expected = (X + 1 + 10) * 2 + 100 + 1000
    results: list[bool] = []
    work = [threading.Thread(target=lambda: results.append(torch.allclose(module(X), expected))) for _ in range(8)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert results == [True] * 8
    assert torch.allclose(torch.compile(module, fullgraph=True, backend="eager")(X), expected)
    assert torch.allclose(torch.export.export(module, (X,)).module()(X), expected)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("kind", [Base, Sub, Unannounced, WithMeta, Slots, Stateful])
def test_a_copy_is_of_the_same_class(kind: type[nn.Module], duplicate: Callable[[nn.Module], nn.Module]) -> None:
    module = rewritten(kind())
    again = duplicate(module)
    assert type(again) is type(module)
    assert torch.equal(again(X), module(X))
    assert getattr(again, "restored", False) is (kind is Stateful)


def test_a_shallow_copy_shares_its_modules() -> None:
    module = rewritten(Base())
    again = copy.copy(module)
    assert type(again) is type(module)
    assert again.fc is module.fc


def test_a_module_that_is_made_anew_from_a_pickle_gets_its_functions() -> None:
    module = rewritten(Reduced())
    again = pickle.loads(pickle.dumps(module))
    assert torch.equal(again(X), oracle(again))


def test_torch_saves_and_loads_the_module(tmp_path: Path) -> None:
    module = rewritten(Base())
    torch.save(module, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(again(X), module(X))


SOURCE = """
import torch.nn.functional as F
from torch import nn

class Block(nn.Module):
    def forward(self, x):
        return F.relu(x) * 2
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    def loaded(text: str) -> Any:
        path = tmp_path / "edited_module.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module.Block()

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return loaded


def test_a_pickle_finds_the_source_in_a_fresh_module(load: Callable[[str], Any]) -> None:
    kept = pickle.dumps(rewritten(load(SOURCE), call="F.relu(x)"))
    load("# moved\n" + SOURCE)
    assert torch.equal(pickle.loads(kept)(X), (X + 1) * 2)


def test_a_pickle_of_other_source_is_refused(load: Callable[[str], Any]) -> None:
    kept = pickle.dumps(rewritten(load(SOURCE), call="F.relu(x)"))
    load(SOURCE.replace("* 2", "* 3"))
    with pytest.raises(UsageError, match="found another source"):
        pickle.loads(kept)


def test_a_method_is_found_by_its_digest() -> None:
    base = first(Base)
    assert method_with(Sub, "forward", base.digest).function is Base.forward
    with pytest.raises(UsageError, match="found another source"):
        method_with(Sub, "forward", "0" * 64)


def test_the_edited_source_is_shown_under_the_numbers_of_the_users_file() -> None:
    module = rewritten(Base())
    lines, number = inspect.getsourcelines(type(module).forward)
    assert "return self.new(self.fc(x)) * 2" in lines[-1]
    assert number == inspect.getsourcelines(Base.forward)[1]
    linecache.checkcache()
    module.new.by = None
    with pytest.raises(TypeError) as caught:
        module(X)
    frame = next(f for f in traceback.extract_tb(caught.tb) if f.line and "self.new" in f.line)
    assert frame.line == "return self.new(self.fc(x)) * 2"
    shown = "".join(traceback.format_exception(caught.value))
    assert f"    {frame.line}\n" + " " * len("    return ") + "^" * len("self.new(self.fc(x))") + "\n" in shown


def test_torchscript_reads_the_edited_source() -> None:
    module, method = Scripted(), first(Scripted)
    torch.jit.script(module)
    value = edit(method, "torch.tanh(x)", "x", "new").operand
    formula = edit(method, "0.5 * x * (1 + t)", "t", "new")
    call = edit(method, "F.relu(self.fc(x))", "self.fc(x)", "new")
    module.new = Shift()
    rewrite_methods(module, {method: [type(formula)("new", formula.expression, value), call]})
    assert torch.equal(module(X), module.fc(X + 1) + 1)
    assert torch.equal(torch.jit.script(module)(X), module(X))


def test_compilers_read_the_edited_source() -> None:
    module = rewritten(Sub())
    assert torch.equal(torch.compile(module, fullgraph=True, backend="eager")(X), module(X))
    assert torch.equal(torch.export.export(module, (X,)).module()(X), module(X))


def test_a_layer_of_torch_is_edited() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 1, 8, dropout=0.0, batch_first=True)
    call = "self.activation(self.linear1(x))"
    rewritten(layer, first(type(layer), "_ff_block"), call)
    by_hand = nn.TransformerEncoderLayer(4, 1, 8, dropout=0.0, batch_first=True, activation=Shift())
    by_hand.load_state_dict(layer.state_dict())
    again = pickle.loads(pickle.dumps(layer))
    assert torch.equal(layer(X), by_hand(X))
    assert torch.equal(again(X), by_hand(X))


def test_classes_are_not_kept() -> None:
    class Local(Base):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.gelu(x))

        def itself(self) -> Self:
            return self

    module = rewritten(Local())
    alive = weakref.ref(module), weakref.ref(type(module)), weakref.ref(Local)
    del module, Local
    gc.collect()
    assert [reference() for reference in alive] == [None] * 3
