"""Reading a pickle of records without running anything: every class it names becomes an inert one."""

from __future__ import annotations

import pickle
from typing import Any, Final

import torch

from rewriter.checkpoints.safetensors_file import DTYPES

_MODULES: Final = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
_OTHERS: Final = (
    ("torch.serialization", "_get_layout"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),
    ("pathlib._local", "WindowsPath"),
)
_TORCH_DTYPES: Final[dict[str, torch.dtype]] = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}


class Inert:
    """What stands for an object of a pickle.

    Attributes:
        kind: name of the class that the pickle asked for.
        state: what the pickle would have set on the object.
    """

    kind: str = ""

    def __init__(self, *arguments: object) -> None:
        self.state: Any = arguments

    def __setstate__(self, state: object) -> None:
        self.state = state

    def get(self, name: str) -> Any:
        """Give an attribute that the pickle would have set, or None."""
        return self.state.get(name) if isinstance(self.state, dict) else None


class InertUnpickler(pickle.Unpickler):
    """Builds nothing but `Inert` objects, tuples and dtypes.

    Raises:
        pickle.UnpicklingError: while loading: the pickle names anything that metadata of
            ``torch.distributed.checkpoint`` does not have.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Give what stands for a name."""
        if module == "torch" and name in _TORCH_DTYPES:
            return _TORCH_DTYPES[name]
        if (module, name) == ("torch", "Size"):
            return tuple
        if (module in _MODULES and name.isidentifier()) or (module, name) in _OTHERS:
            return type(name, (Inert,), {"kind": name})
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """Refuse what lies outside the pickle."""
        raise pickle.UnpicklingError("a persistent id")
