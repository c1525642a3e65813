"""Evidence: what one run of a model shows, and how two runs differ."""

from __future__ import annotations

import random
import sys
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rewriter.evaluation import call
from rewriter.layouts import layout_of

_SEED = 0
_ACTIVATIONS = frozenset(
    {"relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh", "softplus", "erf"}
    | {"softsign", "logsigmoid", "tanhshrink", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink"}
)
_DEPTH = 12


@dataclass(frozen=True)
class Mark:
    """What is kept of a tensor: its shape, its size, and one number that most changes of its values change.

    Attributes:
        shape: of the tensor.
        norm: root of the sum of squares.
        sum: of its values, each with a weight of its own between −1 and 1.
    """

    shape: tuple[int, ...]
    norm: float
    sum: float


@dataclass
class Evidence:
    """What one run shows.

    Attributes:
        outputs: the tensors in the model's outputs.
        marks: for each module, of the tensors in its outputs, call after call.
        calls: how often each module ran.
        fed_by: for each function of a site, the layers whose values it was given just as they left them.
        activations: how often each function that is an activation, or part of many, was called by its name.
        eps: the distance of 1 from the next number, for the coarsest numbers that tensors had; code may cast them.
    """

    outputs: list[Tensor] = field(default_factory=list)
    marks: dict[str, list[Mark]] = field(default_factory=lambda: defaultdict(list))
    calls: Counter[str] = field(default_factory=Counter)
    fed_by: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    activations: Counter[str] = field(default_factory=Counter)
    eps: float = 0.0


def observed(
    model: nn.Module,
    inputs: Any,
    *,
    training: bool,
    layers: Collection[str],
    functions: Mapping[str, nn.Module] | None = None,
) -> Evidence:
    """Run a model, without gradients and always from one random state, and watch its modules.

    Args:
        model: is put into the mode asked for.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments.
        training: whether to run it in train mode.
        layers: the paths of the modules to watch; those with a layout are known by what they give.
        functions: of sites, which are counted by the paths of these.
    """
    found, made = Evidence(), dict[int, tuple[Any, int, str]]()
    modules = dict(model.named_modules())
    with ExitStack() as stack, torch.no_grad():
        for path in layers:
            if path in modules and not isinstance(modules[path], torch.jit.ScriptModule):
                hook = _watch(found, made, path)
                stack.callback(modules[path].register_forward_hook(hook).remove)
        for path, function in (functions or {}).items():
            stack.callback(function.register_forward_pre_hook(_count(found, made, path)).remove)
        stack.enter_context(one_random_state(model))
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_Operations(found))
        found.outputs += [value.detach() for value in tensors_of(call(model.train(training), inputs))]
    return found


def difference(want: Evidence, got: Evidence, comparable: Callable[[str], bool], tolerance: float) -> str | None:
    """Say how two runs differ by more than a tolerance, relative to the size of each value, or None.

    Values of modules that have another shape are those of hidden units, whose number may change; what reads them
    gives values that are compared.
    """
    if [value.shape for value in want.outputs] != [value.shape for value in got.outputs]:
        return "outputs of other shapes"
    for number, (one, other) in enumerate(zip(want.outputs, got.outputs, strict=True)):
        if (found := _distance(one, other, tolerance)) is not None:
            return f"output {number} {found}"
    for path, marks in want.marks.items():
        others = got.marks.get(path, [])
        if not comparable(path) or len(others) != len(marks):
            continue
        for mark, now in zip(marks, others, strict=True):
            if mark.shape == now.shape and not abs(mark.sum - now.sum) <= tolerance * mark.norm:
                return f"what {path} gives differs by {abs(mark.sum - now.sum) / (mark.norm or 1):.3g} of its size"
    return None


def noise(want: Evidence, again: Evidence) -> float:
    """Give the largest relative difference between two runs that differ by rounding; infinite where shapes differ."""
    if [value.shape for value in want.outputs] != [value.shape for value in again.outputs]:
        return float("inf")
    sizes = [0.0]
    for one, other in zip(want.outputs, again.outputs, strict=True):
        one, other = _real(one), _real(other)
        finite = one.isfinite() & other.isfinite()
        if finite.any():
            sizes.append(float((one - other)[finite].abs().max()) / (float(one[finite].abs().max()) or 1.0))
    for path, marks in want.marks.items():
        pairs = zip(marks, again.marks.get(path, []), strict=False)
        sizes += [abs(one.sum - other.sum) / (one.norm or 1.0) for one, other in pairs]
    return max(size for size in sizes if size == size)


def tensors_of(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Yield the tensors in an output: in containers, dataclasses and other objects, however they are nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module | type | str | bytes) or callable(value) or depth > _DEPTH:
        return
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_of(one, depth + 1)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors_of(one, depth + 1)
    else:
        names = [*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())]
        for one in [getattr(value, name, None) for name in names]:
            yield from tensors_of(one, depth + 1)


class _Operations(TorchFunctionMode):
    def __init__(self, found: Evidence) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(getattr(func, "__name__", "")).removesuffix("_")
        if name in _ACTIVATIONS:
            self._found.activations[name] += 1
        if isinstance(result, Tensor) and result.is_floating_point() and result.numel() > 1:
            self._found.eps = max(self._found.eps, torch.finfo(result.dtype).eps)
        return result


def _watch(found: Evidence, made: dict[int, tuple[Any, int, str]], path: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:
        found.calls[path] += 1
        try:
            found.marks[path] += [_mark(value) for value in tensors_of(output)]
            if isinstance(output, Tensor) and layout_of(module) is not None:
                made[id(output)] = weakref.ref(output), output._version, path
        except RuntimeError:  # tensors of torch.func's transforms show no values
            return

    return hook


def _count(found: Evidence, made: dict[int, tuple[Any, int, str]], path: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any) -> None:
        found.calls[path] += 1
        (value,) = arguments
        known, version, layer = made.get(id(value), (None, 0, ""))
        if known is not None and known() is value and value._version == version:
            found.fed_by[path].add(layer)

    return hook


def _mark(value: Tensor) -> Mark:
    flat = torch.nan_to_num(_real(value)).flatten()
    weights = torch.arange(len(flat), dtype=torch.float64, device=flat.device).mul_(0.61803398875).frac_().sub_(0.5)
    return Mark(tuple(value.shape), float(flat.norm()), float(flat @ weights) * 2)


def _real(value: Tensor) -> Tensor:
    plain = value.detach().to_dense() if value.layout != torch.strided else value.detach()
    plain = plain.dequantize() if plain.is_quantized else plain
    return (torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain).cpu().double()


def _distance(one: Tensor, other: Tensor, tolerance: float) -> str | None:
    if one.dtype != other.dtype:
        return f"is {other.dtype} instead of {one.dtype}"
    if one.numel() == 0:
        return None
    one, other = _real(one), _real(other)
    finite = one.isfinite()
    if not torch.equal(finite, other.isfinite()):
        return "is not finite where it was"
    size = float(one[finite].abs().max()) if finite.any() else 0.0
    distance = float((one - other)[finite].abs().max()) if finite.any() else 0.0
    return f"differs by {distance:.3g} of {size:.3g}" if distance > tolerance * size else None


@contextmanager
def one_random_state(model: nn.Module) -> Iterator[None]:
    """Let random numbers of torch, Python and NumPy begin from one state; on leaving, theirs is what it was."""
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    numpy = sys.modules.get("numpy")
    states = random.getstate(), numpy.random.get_state() if numpy is not None else None
    with torch.random.fork_rng(devices=[device.index for device in devices]):
        torch.manual_seed(_SEED)
        random.seed(_SEED)
        if numpy is not None:
            numpy.random.seed(_SEED)
        try:
            yield
        finally:
            random.setstate(states[0])
            if numpy is not None:
                numpy.random.set_state(states[1])
