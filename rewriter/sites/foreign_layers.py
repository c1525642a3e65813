"""Layers whose weights are not theirs to move: quantised ones, and those inside an adapter such as LoRA."""

from __future__ import annotations

from torch import Tensor, nn

_QUANTISED_PACKAGES = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.", "torch.ao.nn.qat.")


def is_quantised(layer: nn.Module) -> bool:
    """Say whether a layer computes with quantised, packed or fake-quantised weights."""
    if f"{type(layer).__module__}.".startswith(_QUANTISED_PACKAGES):
        return True
    own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    return any("weight" in name and not is_plain(tensor) for name, tensor in own)


def is_plain(weight: Tensor) -> bool:
    """Say whether a weight is an ordinary tensor of floating-point numbers of 16 bits or more."""
    return weight.is_floating_point() and weight.dtype.itemsize > 1 and type(weight.data) is Tensor


def foreign(path: str, module: nn.Module) -> str | None:
    """Say why a layer whose code or whose part lies in ``module`` is not resized, or None.

    An adapter, such as peft's LoRA layers, keeps a layer inside as ``base_layer``, and the weights that it adds in
    dicts by name.
    """
    added = any(isinstance(child, nn.ModuleDict | nn.ParameterDict) for child in module.children())
    if added and isinstance(getattr(module, "base_layer", None), nn.Module):
        return f"{path} is an adapter ({type(module).__name__}): merge it into its layer first, with merge_and_unload()"
    if is_quantised(module):
        return f"{path} ({type(module).__name__}) has quantised weights: rewrite the model before it is quantised"
    return None
