"""Refusing models that are wrapped, compiled, sharded or lazy, since something else holds what would change."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from torch import fx, jit, nn
from torch.nn.parameter import is_lazy

from rewriter.errors import UsageError

# The attribute of each wrapper that holds the model. Known by name, so that nothing of them is imported.
_WRAPPERS = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
}
_SHARDED = frozenset({"torch.distributed.tensor.DTensor", "torch.distributed.fsdp.FSDPModule"})


def require_plain(model: object) -> None:
    """Refuse what is no module, and a model with anything in it that holds on to its parameters or its code.

    Wrappers for data parallelism, compiled and scripted modules and sharded parameters would go on with the old ones;
    a lazy layer has none yet.

    Raises:
        UsageError: naming the first such part and what to rewrite instead.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(
            expected="a model that is an nn.Module", found=type(model).__name__, remedy="give the module itself"
        )
    for path, module in model.named_modules():
        for found, remedy in _obstacles(path, module):
            where = f" at {path}" if path else ""
            raise UsageError(
                expected="a plain model, neither wrapped, compiled, sharded nor lazy",
                found=f"{found}{where}",
                remedy=remedy,
            )


def _obstacles(path: str, module: nn.Module) -> Iterator[tuple[str, str]]:
    names = _names(type(module))
    wrapper = next((name for name in names if name in _WRAPPERS), None)
    if wrapper is not None:
        kind, inner = wrapper.rpartition(".")[2], _WRAPPERS[wrapper]
        verb = "compile" if inner == "_orig_mod" else "wrap"
        yield kind, f"rewrite {'.'.join(filter(None, ('model', path, inner)))}, then {verb} the rewritten model"
    if isinstance(module, jit.ScriptModule) and not path:
        yield "a scripted model", "rewrite the model that it was scripted from, then script the rewritten model"
    graphs = [name for name, value in vars(module).items() if isinstance(value, fx.Graph) and name != "_graph"]
    if isinstance(module, fx.GraphModule) and len(graphs) > 1:
        yield f"{type(module).__name__} of several graphs ({', '.join(graphs)})", "rewrite the model it was made from"
    if module._compiled_call_impl is not None:
        yield f"{type(module).__name__} with compile() called on it", "rewrite a fresh model, then call compile()"
    if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
        yield f"{type(module).__name__} without a shape", "run the model once on an example input, then rewrite it"
    kinds = {type(parameter) for parameter in module.parameters(recurse=False)}
    if not _SHARDED.isdisjoint(chain(names, *map(_names, kinds))):
        yield f"a sharded {type(module).__name__}", "rewrite the model before you shard it"


def _names(kind: type) -> list[str]:
    return [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__]
