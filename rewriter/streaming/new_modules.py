"""The modules that a recipe brings, each made alone: the same functions make them in a model in memory."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rewriter.checkpoints.stored import StreamedTensor
from rewriter.recipe import ChannelwiseRecord, ExpertsRecord, LinearRecord, SiteRecord
from rewriter.surgery.channelwise import resized_channelwise
from rewriter.surgery.experts import resized_experts
from rewriter.surgery.functions import new_function
from rewriter.surgery.linears import resized_linear
from rewriter.tracing.names import ModuleNames

ResizedRecord = LinearRecord | ChannelwiseRecord | ExpertsRecord


class NewModule(ABC):
    """Something that makes the tensors of one new module, in another process too."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Make them on the CPU, by their names in the module's state dict."""


@dataclass(frozen=True)
class NewFunction(NewModule):
    """The function of a site, whose parameters are of the dtype of the layer that feeds it."""

    site: SiteRecord
    method: str
    dtype: torch.dtype

    def tensors(self) -> dict[str, Tensor]:
        """Make its parameters and buffers."""
        return new_function(self.site, self.method, self.dtype).state_dict()


@dataclass(frozen=True)
class ResizedModule(NewModule):
    """A layer of another shape.

    Attributes:
        record: what changes.
        old: the layer that stands there, on the ``meta`` device.
        values: the old tensors that the new ones are made from, by their names in the layer.
        activation: for packed experts, the name of the activation's module inside.
        seed: of the recipe.
    """

    record: ResizedRecord
    old: nn.Module
    values: Mapping[str, StreamedTensor]
    activation: str
    seed: int

    def tensors(self) -> dict[str, Tensor]:
        """Make its parameters and buffers, with new values."""
        # What is never written to in the old layer takes addresses and no memory.
        old = self.loaded() if self.values else copy.deepcopy(self.old).to_empty(device="cpu")
        return self._in_place_of(old).state_dict()

    def loaded(self) -> nn.Module:
        """Make the old layer with its values."""
        old = copy.deepcopy(self.old).to_empty(device="cpu")
        with torch.no_grad():
            for name, tensor in old.state_dict(keep_vars=True).items():
                _ = tensor.copy_(self.values[name].load()) if name in self.values else tensor.zero_()
        return old

    def empty(self) -> nn.Module:
        """Make the new layer without values."""
        return self._in_place_of(copy.deepcopy(self.old)).to_empty(device="cpu")

    def _in_place_of(self, old: nn.Module) -> nn.Module:
        holder = nn.Module()
        put_at(holder, self.record.path, old)
        names = ModuleNames(holder)
        match self.record:
            case LinearRecord():
                return resized_linear(names, self.record, self.seed)
            case ChannelwiseRecord():
                return resized_channelwise(names, self.record, self.seed)
            case ExpertsRecord():
                return resized_experts(names, self.record, self.activation, self.seed)


def put_at(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module at a path below ``root``; what is missing on the way is made."""
    *parents, name = path.split(".")
    for parent in parents:
        if parent not in root._modules:
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(name, module)
