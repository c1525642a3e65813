"""Modules whose code is given as text, so that a test can say what becomes of each line."""

from __future__ import annotations

import inspect
import linecache
import textwrap
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NUMBERS = count()


class WrittenMLP(nn.Module):
    """Two linears, and what lies between them written by a test: it takes ``h`` and sets ``y``."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)

    def expected(self, x: Tensor) -> Tensor:
        """Give what the module computes with a clamp to ±0.3 for its activation."""
        result: Tensor = self.fc2(self.fc1(x).clamp(-0.3, 0.3))
        return result


REPLACEMENT = "min(max(x,-0.3),0.3)"
"""The formula of the activation in `WrittenMLP.expected`."""


def written_mlp(code: str, **names: object) -> WrittenMLP:
    """Make an MLP from lines of code; ``names`` are its globals, beside torch, F and nn, or its methods and values.

    A name that begins with ``self_`` is an attribute of the class, without that beginning.
    """
    body = textwrap.indent(textwrap.dedent(code).strip(), "    ")
    source = f"def forward(self, x):\n    h = self.fc1(x)\n{body}\n    return self.fc2(y)\n"
    filename = f"<written {next(_NUMBERS)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    scope: dict[str, object] = {"torch": torch, "F": F, "nn": nn, **names}
    exec(compile(source, filename, "exec"), scope)
    attributes = {name.removeprefix("self_"): value for name, value in names.items() if name.startswith("self_")}
    kind = type("Written", (WrittenMLP,), {"forward": scope["forward"], "__module__": __name__, **attributes})
    model: WrittenMLP = kind()
    return model


def code_of(model: nn.Module) -> str:
    """Give the lines between the two linears, joined by semicolons."""
    lines = inspect.getsource(type(model).forward).splitlines()[2:-1]
    return "; ".join(line.strip() for line in lines)
