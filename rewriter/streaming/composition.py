"""Composition: what every tensor of the rewritten model is, an old one as it was or one of a new module."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rewriter.checkpoints.matching import Match
from rewriter.checkpoints.stored import Assembled, Region, Stored, StreamedTensor
from rewriter.errors import CheckpointError, ValidationError
from rewriter.recipe import ChannelwiseRecord, Recipe, SiteRecord
from rewriter.streaming.hollow import hollow
from rewriter.streaming.new_modules import NewFunction, NewModule, ResizedModule, ResizedRecord
from rewriter.streaming.warm_chain import chains_of
from rewriter.surgery.operation import operate
from rewriter.surgery.placed import placed
from rewriter.tracing.names import ModuleNames
from rewriter.validation import check_budget


@dataclass(frozen=True)
class Copied:
    """An old tensor; a buffer may be infinite somewhere, as attention masks are, and a parameter may not."""

    stored: StreamedTensor
    is_parameter: bool


@dataclass(frozen=True)
class Made:
    """A tensor of a new module."""

    module: NewModule
    name: str


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of the rewritten model.

    Attributes:
        key: its name in the state dict.
        dtype: type of its values.
        shape: its sizes.
        origin: where its values come from.
    """

    key: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    origin: Copied | Made

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def compose(model: nn.Module, recipe: Recipe, match: Match) -> list[OutputTensor]:
    """List the tensors of the model that a recipe makes, in the order of its state dict, tied ones once.

    The model is rewritten in place, without values; afterwards it is of no use.

    Args:
        model: the model that the recipe was made for, on any device.
        recipe: what to do.
        match: what the checkpoint gives to the model.

    Raises:
        UsageError: the recipe was made for another model.
        ValidationError: the parameter budget does not hold.
        CheckpointError: the checkpoint's format is one that can only be read as a whole.
    """
    hollow(model, match.given)
    names = ModuleNames(model)
    old = model.state_dict(keep_vars=True)
    keys = {id(tensor): key for key, tensor in reversed(old.items())}
    resized = _resized(names, recipe, match)
    rewritten = operate(model, recipe)
    functions = dict(_functions(rewritten, names, recipe))
    check_budget(rewritten, recipe)
    made = resized | {
        path: (NewFunction(site, recipe.method, _dtype(rewritten.get_submodule(path))), "")
        for path, site in functions.items()
    }
    outputs: list[OutputTensor] = []
    seen: set[int] = set()
    for key, tensor in rewritten.state_dict(keep_vars=True).items():
        origin: Copied | Made | None
        if id(tensor) not in keys:
            origin = _made(made, key)
        elif keys[id(tensor)] in match.given:
            stored = streamed(key, match.given[keys[id(tensor)]])
            origin = Copied(stored, isinstance(tensor, nn.Parameter))
        else:
            origin = None  # a counter of batches, which every norm makes by itself
        if origin is not None and id(tensor) not in seen:
            outputs.append(OutputTensor(key, tensor.dtype, tuple(tensor.shape), origin))
        seen.add(id(tensor))
    outputs += [
        OutputTensor(key, stored.dtype, stored.shape, Copied(streamed(key, stored), False))
        for key, stored in match.constants.items()
    ]
    return outputs


def _functions(model: nn.Module, names: ModuleNames, recipe: Recipe) -> Iterator[tuple[str, SiteRecord]]:
    """Give the paths that the functions of the sites will have."""
    packed = {record.path for record in recipe.linears if record.half is not None}
    for site in recipe.sites:
        if site.producer in packed:
            yield from ((f"{path}.function", site) for path in names.paths(names.modules[site.producer]))
        elif site.module is not None:
            yield site.module, site
        else:
            inside = placed(model, site).removeprefix(f"{site.owner}.")
            yield from ((f"{path}.{inside}".lstrip("."), site) for path in names.paths(names.modules[site.owner]))


def _resized(names: ModuleNames, recipe: Recipe, match: Match) -> dict[str, tuple[NewModule, str]]:
    """Give the new layers by all their paths, each with what stands before its names in what makes it."""
    warm = recipe.options.get("init") == "warm"
    activations = {site.producer: str(site.module).rpartition(".")[2] for site in recipe.sites}
    layers: list[ResizedModule] = []
    records: list[ResizedRecord] = [*recipe.linears, *recipe.channelwise, *recipe.experts]
    for record in records:
        old = names.modules[record.path]
        prefix = f"{record.path}."
        values = {
            key.removeprefix(prefix): streamed(key, stored)
            for key, stored in match.given.items()
            if (warm or isinstance(record, ChannelwiseRecord)) and key.startswith(prefix)
        }
        layers.append(ResizedModule(record, old, values, activations.get(record.path, ""), recipe.seed))
    made: dict[str, tuple[NewModule, str]] = {layer.record.path: (layer, "") for layer in layers}
    if warm:
        made = {
            layer.record.path: (c, f"{layer.record.path}.") for c in chains_of(recipe, layers) for layer in c.layers
        }
    return {
        alias: made[layer.record.path] for layer in layers for alias in names.paths(names.modules[layer.record.path])
    }


def _made(modules: Mapping[str, tuple[NewModule, str]], key: str) -> Made:
    path, _, name = key.rpartition(".")
    while path not in modules:
        if not path:
            raise ValidationError(
                expected=f"a new module that has {key}",
                found="none",
                remedy="report this recipe: the surgery and the stream disagree",
            )
        path, _, inner = path.rpartition(".")
        name = f"{inner}.{name}"
    module, prefix = modules[path]
    return Made(module, prefix + name)


def _dtype(function: nn.Module) -> torch.dtype:
    own: list[Tensor] = list(function.parameters())
    return own[0].dtype if own else torch.get_default_dtype()


def streamed(key: str, stored: Stored) -> StreamedTensor:
    """Give a tensor that lies in a file as what it is.

    Raises:
        CheckpointError: its file can only be read as a whole.
    """
    if not isinstance(stored, Region | Assembled):
        raise CheckpointError(
            expected="a checkpoint of safetensors, of torch 1.6 or newer, or of torch.distributed.checkpoint",
            found=f"{key} in an older file of torch.save, which can only be read as a whole",
            remedy="save the state dict again, or leave --stream out",
        )
    return stored
