"""What matching finds: sites, and misses with their reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from rewriter.packed_experts import PackedExperts
from rewriter.sites.call_in_code import CallInCode, CallInGraph, Span
from rewriter.tracing.spellings import Activation

Kind = Literal["mlp", "gated", "linear", "conv", "embedding"]
InnerRole = Literal["channelwise", "reads", "makes", "maps"]


@dataclass(frozen=True)
class ActivationAddress:
    """Where an activation is called.

    Attributes:
        owner: path of the module whose own code calls it.
        call: position of the call among the calls that this code made.
        module: path of the module, or of the attribute that holds a function, when replacing it changes this call and
            no other; None when the owner's code itself must be changed.
        code: where the expression stands in the owner's code, or in the graph of a GraphModule, else None.
    """

    owner: str
    call: int
    module: str | None
    code: CallInCode | CallInGraph | None = None

    @property
    def turn(self) -> int | None:
        """For which of the layers of a loop it is, where one expression serves several."""
        return self.code.turn if isinstance(self.code, CallInCode) else None

    @property
    def loop(self) -> tuple[str, str, Span] | None:
        """What the turns of one loop have in common, and nothing else has."""
        return None if self.turn is None else (self.owner, self.code.method, self.code.expression)  # type: ignore[union-attr]

    @property
    def path(self) -> str:
        """A path to show: the module, or the owner whose code holds the call."""
        what = self.code.name if self.code is not None else self.call
        turn = f"[{self.turn}]" if self.turn is not None else ""
        return self.module or f"{self.owner or '(model)'}:{what}{turn}"


@dataclass(frozen=True)
class InnerLayer:
    """A layer between the two ends of an MLP, which changes its shape with the hidden width.

    Attributes:
        layer: the layer.
        path: where it is.
        role: ``channelwise`` (a norm, a scale, a depthwise convolution), or in a squeeze-and-excite the layer that
            ``reads`` the hidden units, the one that ``makes`` a gate for each, or the one that ``maps`` both ways.
        wide: whether it stands ahead of the activation, where each branch has a value for every hidden unit.
    """

    layer: nn.Module
    path: str
    role: InnerRole
    wide: bool


@dataclass(frozen=True)
class Hidden:
    """The layers around an activation that share its hidden width, which a rewrite may change.

    Attributes:
        expand: the layer that makes the hidden units; of a gated MLP, the one that is activated.
        project: the layer that consumes them.
        partner: the other factor's layer of a gated MLP with two layers.
        half: which half of ``expand``'s output is activated, for a gated MLP with both factors packed in one layer.
        inner: the layers between, which share the hidden width.
        glu: whether the activation is a GLU, which cuts ``expand``'s output in halves and multiplies them itself.
    """

    expand: nn.Module
    project: nn.Module
    partner: nn.Module | None = None
    half: int | None = None
    inner: tuple[InnerLayer, ...] = ()
    glu: bool = False

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """All layers that change their shape."""
        ends = (self.expand, self.partner, self.project)
        return (*(layer for layer in ends if layer is not None), *(inner.layer for inner in self.inner))


@dataclass(frozen=True)
class Lone:
    """The layer of a lone activation, which keeps its output width.

    Attributes:
        layer: what makes the values that are activated, and nothing else.
        path: where it is.
        inner: the norms and depthwise convolutions between it and the activation.
    """

    layer: nn.Module
    path: str
    inner: tuple[InnerLayer, ...] = ()


@dataclass(frozen=True)
class Site:
    """An activation with the layer that feeds it and, for an MLP, the layers of its hidden units.

    Attributes:
        kind: ``mlp`` (linear or dense convolution → activation → another, with norms, depthwise convolutions and
            squeeze-and-excites between), ``gated`` (the same with a gate), or what feeds a lone activation.
        activation: which function the activation is.
        address: where it is called.
        producer: path of the linear, convolution or embedding that feeds it, or of the packed experts that hold it.
        consumer: path of the second linear of an MLP, else None.
        partner: path of the other factor's layer of a gated MLP, else None.
        channels_dim: the dimension of the activation's input that holds the hidden units.
        depth: length of the longest path of operations from the model's inputs.
        hidden: the layers of an MLP's hidden units, or its packed experts, else None.
        not_an_mlp: why a lone site cannot be rewritten as an MLP, else None.
        lone: the layer of a lone activation that may be replaced, else None.
        activation_parameters: number of trainable parameters of the activation it has now.
        original: makes a module that computes what the model computes there; None for packed experts.
        samples: values that entered the activation on calibration inputs, float32 ``[N]``; None without calibration.
    """

    kind: Kind
    activation: Activation
    address: ActivationAddress
    producer: str
    consumer: str | None
    partner: str | None
    channels_dim: int
    depth: int
    hidden: Hidden | PackedExperts | None
    not_an_mlp: str | None
    activation_parameters: int
    lone: Lone | None = None
    samples: Tensor | None = field(default=None, compare=False, repr=False)
    original: Callable[[], nn.Module] | None = field(default=None, compare=False, repr=False)

    @property
    def path(self) -> str:
        """The site's name: the module that holds its parts."""
        return self.address.path

    @property
    def paths(self) -> tuple[str, ...]:
        """All module paths that name this site in a filter."""
        own = (self.address.owner, self.address.path, self.producer, self.consumer, self.partner)
        return tuple(path for path in own if path)


@dataclass(frozen=True)
class Miss:
    """Something that is not rewritten, and why."""

    path: str
    function: str
    reason: str
