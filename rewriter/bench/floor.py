"""The floor of a computation: its matrix products alone, at the same shapes, on the same tensors.

Products are what torch counts operations of: linear layers, convolutions and fused attention, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten
# The counter knows fused attention by its names on a GPU alone; on the CPU it takes the same arguments.
_FLOPS: Final[dict[Any, Callable[..., int]]] = dict(flop_registry) | {
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[_aten._scaled_dot_product_flash_attention],
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        _aten._scaled_dot_product_flash_attention_backward
    ],
}


@dataclass
class Products:
    """The matrix products of one call; calling it runs them again, one after the other, and nothing else.

    Attributes:
        flops: floating-point operations of all of them, two for each multiplication and addition.
        moved: bytes of what they read and write, each tensor once for each product.
    """

    flops: int = 0
    moved: int = 0
    _calls: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __call__(self) -> None:
        """Run the products again; their results are dropped, but for those that the call itself put somewhere."""
        with torch.no_grad():
            for function, arguments, keywords in self._calls:
                function(*arguments, **keywords)

    def __len__(self) -> int:
        return len(self._calls)

    def add(
        self, function: Callable[..., object], arguments: tuple[Any, ...], keywords: dict[str, Any], result: object
    ) -> None:
        """Keep one product and its tensors; of the result only the size."""
        detached = tree_map_only(Tensor, Tensor.detach, (arguments, keywords))
        self._calls.append((function, *detached))
        operands = {name: value for name, value in keywords.items() if name != "out"}  # which is the result
        leaves = tree_leaves((arguments, operands, result))
        self.moved += sum(value.numel() * value.element_size() for value in leaves if isinstance(value, Tensor))


def record_products(call: Callable[[], object]) -> Products:
    """Run a call once, in eager mode, and keep its matrix products with the tensors that they took."""
    found = Products()
    with _Recorder(found):
        call()
    return found


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, products: Products) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._products = products

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        result = func(*args, **keywords)
        count = _FLOPS.get(func.overloadpacket)
        if count is not None:
            self._products.add(func, args, keywords, result)
            self._products.flops += count(*args, **keywords, out_val=result)
        return result
