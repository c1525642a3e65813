"""The recipe: what a rewrite does, as versioned data without code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, NonNegativeInt, ValidationError, model_validator

from rewriter.methods import Placement
from rewriter.recipe.provenance import ResultRecord, SourceRecord
from rewriter.recipe.reading import not_a_recipe, recipe_content
from rewriter.recipe.soundness import require_sound
from rewriter.sites.call_in_code import CallInCode, CallInGraph
from rewriter.sites.site import ActivationAddress, Kind

Format = Literal["network-rewriter/recipe/1", "network-rewriter/recipe/2"]
FORMATS: tuple[Format, ...] = get_args(Format)
Size = Annotated[int, Field(gt=0, lt=2**40)]
Half = Annotated[int, Field(ge=0, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LinearRecord(_Record):
    """One layer that changes its shape.

    Attributes:
        path: where it is.
        before: input and output width before.
        after: the same after the rewrite.
        bias: whether it has a bias.
        taps: kernel size of a convolution; 1 for a linear.
        rank: for the layer of a lone activation, how many values the low-rank factor makes from which a second layer
            makes the output; None for one layer.
        half: for the layer of a gate with both factors packed, which half is activated (0 or 1); it then applies the
            function of its site itself, since the code behind it cuts its output in halves.
        glu: whether the code behind it, a GLU, multiplies the halves, too, so that nothing else is left for it to do.
        site: for a layer between the ends of an MLP, path of the site whose hidden units it follows.
    """

    path: str
    before: tuple[Size, Size]
    after: tuple[Size, Size]
    bias: bool
    taps: Size = 1
    rank: Size | None = None
    half: Half | None = None
    glu: bool = False
    site: str | None = None

    @property
    def parameters_before(self) -> int:
        """Number of weights and biases before."""
        return self.before[1] * (self.before[0] * self.taps + self.bias)

    @property
    def parameters_after(self) -> int:
        """Number of weights and biases after."""
        if self.rank is not None:
            return self.after[0] * self.taps * self.rank + self.after[1] * (self.rank + self.bias)
        return self.after[1] * (self.after[0] * self.taps + self.bias)


class ChannelwiseRecord(_Record):
    """One norm, scale or depthwise convolution that follows the hidden width.

    Attributes:
        path: where it is.
        before: number of channels before.
        after: the same after the rewrite, all branches together.
        per_channel: number of parameters of each channel.
        branches: how many branches lie in its channels, one after the other; 1 behind the activation.
        site: path of the site whose hidden units it follows; None at a lone activation.
    """

    path: str
    before: Size
    after: Size
    per_channel: NonNegativeInt
    branches: Size
    site: str | None = None

    @property
    def parameters_before(self) -> int:
        """Number of parameters before."""
        return self.before * self.per_channel

    @property
    def parameters_after(self) -> int:
        """Number of parameters after."""
        return self.after * self.per_channel


class ExpertsRecord(_Record):
    """Packed experts that change their hidden width; what is said of one holds for all of them.

    Attributes:
        path: where their module is.
        expand: name of the weight that makes the hidden units.
        project: name of the weight behind them.
        transposed: whether the weights are stored as ``[experts, in, out]`` rather than ``[experts, out, in]``.
        half: of a gate, which half of the expanded values is activated (0 or 1); None for plain experts.
        experts: how many there are.
        fan_in: input width.
        hidden: hidden width before and after.
        fan_out: output width.
        branches: number of branches of the activation after the rewrite; they lie one after the other in the place of
            the activated values.
    """

    path: str
    expand: str
    project: str
    transposed: bool
    half: Half | None
    experts: Size
    fan_in: Size
    hidden: tuple[Size, Size]
    fan_out: Size
    branches: Size

    @property
    def parameters_before(self) -> int:
        """Number of weights before."""
        return self._weights(self.hidden[0], 1)

    @property
    def parameters_after(self) -> int:
        """Number of weights after."""
        return self._weights(self.hidden[1], self.branches)

    def _weights(self, hidden: int, branches: int) -> int:
        return self.experts * hidden * (self.fan_in * (branches + (self.half is not None)) + self.fan_out)


class SiteRecord(_Record):
    """One rewritten site.

    Attributes:
        path: the site's name.
        kind: mlp, gated, linear, conv or embedding.
        activation: the function it had.
        owner: path of the module whose code calls the activation.
        call: which call of that code it is.
        module: path of the activation's module, or of the attribute that holds its function, which is replaced; None
            to edit the owner's code.
        code: where in the owner's code; None too in a recipe of format 1, which counts the calls only.
        producer: path of the layer that feeds it, or of the packed experts that hold it.
        consumer: path of the second linear of an MLP; None for packed experts.
        partner: path of the other factor's layer of a gated MLP with two layers.
        channels_dim: dimension of the hidden units.
        depth: its depth in the data-flow graph.
        rank: 0 for the deepest sites; sites of equal depth share a rank.
        placement: what the method puts there.
        hidden: hidden width before and after; None for a lone activation.
        chain: name of the chain of MLPs it belongs to: the path of the chain's first site.
        parameters_before: of the layers that are counted at this site: its activation, its first linear if it changes,
            the layers between, and for the last site of a chain the last linear.
        parameters_after: the same after the rewrite.
    """

    path: str
    kind: Kind
    activation: str
    owner: str
    call: NonNegativeInt
    module: str | None
    code: CallInCode | CallInGraph | None = None
    producer: str
    consumer: str | None
    partner: str | None
    channels_dim: int
    depth: NonNegativeInt
    rank: NonNegativeInt
    placement: Placement
    hidden: tuple[Size, Size] | None
    chain: str
    parameters_before: NonNegativeInt
    parameters_after: NonNegativeInt

    @property
    def address(self) -> ActivationAddress:
        """Where the activation is called."""
        return ActivationAddress(self.owner, self.call, self.module, self.code)


class MissRecord(_Record):
    """An activation that is not rewritten, or a module that was not captured, and why."""

    path: str
    function: str
    reason: str


class Recipe(_Record):
    """Everything that `apply` needs to rewrite a model, and that `restore` needs to build it again.

    Attributes:
        format: the version of this schema.
        method: name of the method.
        options: the options as they were resolved.
        seed: seed of the new weights.
        sites: what is rewritten, in order of depth.
        linears: the linears that change their shape.
        channelwise: the layers between them that follow the hidden width.
        experts: the packed experts that change their hidden width.
        misses: what is not rewritten, and why.
        parameters_before: of the whole model, tied parameters counted once.
        parameters_after: the same after the rewrite.
        source: where the model came from, when it was loaded from a source.
        result: what was written of it, in the recipe that lies beside the weights.
    """

    format: Format = FORMATS[-1]
    method: str
    options: dict[str, JsonValue]
    seed: int
    sites: tuple[SiteRecord, ...]
    linears: tuple[LinearRecord, ...]
    channelwise: tuple[ChannelwiseRecord, ...] = ()
    experts: tuple[ExpertsRecord, ...] = ()
    misses: tuple[MissRecord, ...]
    parameters_before: NonNegativeInt
    parameters_after: NonNegativeInt
    source: SourceRecord | None = None
    result: ResultRecord | None = None

    @model_validator(mode="after")
    def _is_sound(self) -> Recipe:
        require_sound(self)
        return self

    @property
    def holds_budget(self) -> bool:
        """Whether the chosen width promises not to exceed the original parameters at the resized sites."""
        return self.options.get("width") in ("match", "paper")

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a recipe from a JSON file.

        Raises:
            UsageError: the file is missing, is not JSON, or does not follow this version of the schema.
        """
        content = recipe_content(path, FORMATS)
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            found = f"{where[:200]}: {first['msg'][:200]}"
            raise not_a_recipe(path, FORMATS[-1], found, "write the recipe again with this version") from error
