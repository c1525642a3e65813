"""Deliberate faults of matching and surgery: each replaces one function by one that goes wrong in one way."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from torch import nn

from benchmarks import faulty
from benchmarks.faulty import Wrong
from rewriter.tracing.spellings import Activation


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: a few words.
        where: the function that it is in, ``module:name`` or ``module:Class.name``.
        wrong: makes the function with the fault from the right one.
        models: the small models that it makes wrong.
        method: what they are rewritten by.
        options: of the method and the engine.
    """

    name: str
    where: str
    wrong: Wrong
    models: tuple[str, ...]
    method: str = "hdfgd"
    options: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def put_in(fault: Fault) -> Iterator[None]:
    """Put a fault into the code of this process, and take it out again."""
    module, _, path = fault.where.partition(":")
    *around, name = path.split(".")
    holder: Any = importlib.import_module(module)
    for part in around:
        holder = getattr(holder, part)
    right = vars(holder)[name]
    bound = isinstance(right, staticmethod | classmethod)
    setattr(holder, name, type(right)(fault.wrong(right.__func__)) if bound else fault.wrong(right))
    try:
        yield
    finally:
        setattr(holder, name, right)


def weights_off(error: float, model: str) -> Fault:
    """Give the fault that the weights of one new layer are wrong by a factor of 1 + error."""

    def carry(right: Any) -> Callable[..., None]:
        def function(original: nn.Module, rewritten: nn.Module, recipe: Any, kept: Any) -> None:
            right(original, rewritten, recipe, kept)
            rewritten.get_submodule(recipe.linears[0].path).get_parameter("weight").data.mul_(1 + error)

        return function

    return Fault(f"weights off by {error:g}", "rewriter.validation.carried_out:carry", carry, (model,))


_FIRST: Final = {"include": ["first.1"]}
_LOW_RANK: Final = {"low_rank": True}
_SITES, _SURGERY = "rewriter.sites", "rewriter.surgery"

FAULTS: Final[tuple[Fault, ...]] = (
    Fault(
        "wrong consumer", f"{_SITES}.hidden_flow:HiddenFlow.down", faulty.changed(faulty.other_consumer), ("in line",)
    ),
    Fault(
        "consumer of another site",
        f"{_SITES}.matching:_Matcher.settle",
        faulty.changed(faulty.next_consumer),
        ("blocks",),
        options=_FIRST,
    ),
    Fault(
        "producer of another site",
        f"{_SITES}.matching:_Matcher.settle",
        faulty.changed(faulty.next_producer),
        ("blocks",),
        options=_FIRST,
    ),
    Fault("wrong partner of a gate", f"{_SITES}.mlp:gated_mlp", faulty.changed(faulty.other_partner), ("gated",)),
    Fault(
        "partner not resized",
        "rewriter.recipe.chains:PlacedSite.feeds",
        faulty.changed(faulty.first_layer_alone),
        ("gated",),
    ),
    Fault("wrong half of a gate", f"{_SITES}.gates:_packed", faulty.changed(faulty.flipped), ("packed",)),
    Fault(
        "halves of a packed layer cut in the wrong order",
        f"{_SURGERY}.packed_gate:PackedGate.__init__",
        faulty.reversed_sizes,
        ("packed",),
    ),
    Fault(
        "wrong half of packed experts",
        f"{_SITES}.experts:_understood",
        faulty.changed(faulty.flipped),
        ("experts",),
    ),
    Fault("lost scale", f"{_SITES}.regions:Regions._named", faulty.scale_taken_along, ("scaled",), method="ga"),
    Fault(
        "a formula's exit one node too early",
        f"{_SITES}.regions:Regions._region",
        faulty.changed(faulty.early_exit),
        ("squared",),
        method="swap",
        options={"activation": "silu"},
    ),
    Fault(
        "a formula recognised as another activation",
        f"{_SITES}.region_names:recognised",
        faulty.instead(lambda function: Activation("silu")),
        ("scaled", "squared"),
        method="ga",
    ),
    Fault(
        "a module taken for another activation",
        f"{_SITES}.regions:activation_of_module",
        faulty.approximate,
        ("blocks",),
        method="ga",
    ),
    Fault(
        "wrong dimension of the channels",
        f"{_SITES}.matching:_Matcher._site",
        faulty.changed(faulty.other_dim),
        ("blocks",),
    ),
    Fault(
        "operand of an edit one name off",
        f"{_SITES}.code:SourceReader._operand",
        faulty.changed(faulty.other_name),
        ("in line",),
        method="ga",
    ),
    Fault(
        "edit in the wrong method of two with equal text",
        f"{_SITES}.code:SourceReader.read",
        faulty.changed(faulty.other_method),
        ("two methods",),
        method="ga",
    ),
    Fault(
        "only the code for eval mode rewritten",
        f"{_SITES}.code:SourceReader._asked_around",
        faulty.instead(lambda self, expression: iter(())),
        ("two modes",),
        method="ga",
    ),
    Fault(
        "dropout lost",
        f"{_SITES}.code:SourceReader._drops",
        faulty.instead(lambda self, part: False),
        ("noisy gate",),
        method="ga",
    ),
    Fault("wrong turn in a loop", f"{_SITES}.ways:_in_turn", faulty.backwards, ("loop",), method="ga"),
    Fault(
        "functions of two calls exchanged",
        f"{_SURGERY}.operation:edited_calls",
        faulty.owner_of_the_other,
        ("shared function",),
        method="ga",
    ),
    Fault(
        "a function shared by two layers replaced for both",
        f"{_SITES}.ways:_alone",
        faulty.changed(lambda result, candidates, *rest: faulty.first_of_all(candidates)),
        ("shared function",),
        method="ga",
    ),
    Fault(
        "a layer replaced under one of its names",
        f"{_SURGERY}.operation:_replace",
        faulty.instead(faulty.one_name),
        ("shared layer",),
    ),
    Fault(
        "second reader of the hidden value overlooked",
        f"{_SITES}.operations:Operations.readers",
        faulty.changed(faulty.first_reader_alone),
        ("two readers",),
    ),
    Fault(
        "overwritten value missed",
        f"{_SITES}.matching:require_hidden",
        faulty.instead(lambda *args, **kwargs: None),
        ("overwritten",),
        method="ga",
    ),
    Fault(
        "wrong number of branches",
        "rewriter.recipe.chains:PlacedSite.feeds",
        faulty.changed(faulty.one_branch_more),
        ("blocks",),
    ),
    Fault(
        "norm ahead of the activation not resized",
        f"{_SITES}.hidden_flow:HiddenFlow.up",
        faulty.changed(faulty.only_ahead),
        ("convolutions",),
    ),
    Fault(
        "norm behind the activation not resized",
        f"{_SITES}.hidden_flow:HiddenFlow.down",
        faulty.changed(faulty.only_ahead),
        ("between",),
    ),
    Fault("groups of a norm over all branches", "rewriter.channelwise:_sizes", faulty.same_groups, ("convolutions",)),
    Fault(
        "groups of a depthwise convolution kept", "rewriter.channelwise:_sizes", faulty.dense_groups, ("convolutions",)
    ),
    Fault(
        "branches of a depthwise convolution interleaved",
        "rewriter.warm.layers:_carry_channelwise",
        faulty.interleaved_channels,
        ("convolutions",),
        options={"init": "warm"},
    ),
    Fault(
        "squeeze-and-excite's roles exchanged",
        f"{_SITES}.hidden_flow:squeeze_excite",
        faulty.changed(lambda gate, *rest: gate and replace(gate, reads=gate.makes, makes=gate.reads)),
        ("convolutions",),
    ),
    Fault("bias lost", "rewriter.layouts:_Linear.make", faulty.changed(faulty.without_bias), ("blocks", "gated")),
    Fault(
        "bias of a low-rank layer lost",
        f"{_SURGERY}.linears:LowRank.of",
        faulty.changed(faulty.without_branch_bias),
        ("two readers", "convolutions"),
        options=_LOW_RANK,
    ),
    Fault(
        "factors of a low-rank layer transposed",
        "rewriter.warm.layers:factored",
        faulty.changed(lambda factors, *rest: (factors[0].flip(1), factors[1])),
        ("two readers",),
        options={**_LOW_RANK, "init": "warm"},
    ),
    Fault(
        "one of two readers of a graph's node replaced",
        f"{_SURGERY}.calls:_replace_in_graph",
        faulty.instead(faulty.first_user_alone),
        ("graph code",),
        method="ga",
    ),
)
