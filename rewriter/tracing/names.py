"""The names of a model's modules: one module object may have several."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from types import MethodType
from typing import Final

from torch import nn
from torch.utils._pytree import tree_leaves

from rewriter.tracing.calls import Run

_REGISTRIES: Final = vars(nn.Module()).keys()


class ModuleNames:
    """An index from module objects to all their paths.

    Args:
        model: the root; paths are relative to it, with duplicates kept.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
        self._paths: dict[int, list[str]] = defaultdict(list)
        for path, module in self.modules.items():
            self._paths[id(module)].append(path)

    def paths(self, module: nn.Module) -> list[str]:
        """Give every path of ``module``, the first registered first."""
        return self._paths.get(id(module), [])

    @cached_property
    def held(self) -> set[int]:
        """The modules, by ``id``, that lists and other plain attributes hold, which a replacement would not reach."""
        held: set[int] = set()
        for module in self.modules.values():
            own = [value for name, value in vars(module).items() if name not in _REGISTRIES]
            found = [value.__self__ if isinstance(value, MethodType) else value for value in tree_leaves(own)]
            held |= {id(value) for value in found if isinstance(value, nn.Module)}
        return held

    def called_as(self, module: nn.Module, run: Run) -> tuple[str, bool]:
        """Give the path under which the code of a run reaches ``module``, and whether it is the only one.

        A Sequential reaches its parts in turn, each under the name of its own.

        Raises:
            NameError: the module is not part of the model (made on the fly, or kept in a plain list).
        """
        if type(run.module) is nn.Sequential:
            parts = list(run.module._modules.items())[run.calls :][:1]
            if parts and parts[0][1] is module:
                name = parts[0][0]
                return f"{run.path}.{name}" if run.path else name, True
        paths = self.paths(module)
        if not paths:
            raise NameError(f"{type(module).__name__} is called but is not a registered submodule")
        inside = [path for path in paths if not run.path or path.startswith(f"{run.path}.")]
        candidates = inside or paths
        nearest = min(path.count(".") for path in candidates)
        nearest_paths = [path for path in candidates if path.count(".") == nearest]
        return nearest_paths[0], len(nearest_paths) == 1
