"""The recipe: what a rewrite does, as versioned data without code."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from rewriter.errors import UsageError
from rewriter.methods import Placement
from rewriter.sites.site import ActivationAddress, Kind
from rewriter.sources.inputs import InputSpec

FORMAT: Literal["network-rewriter/recipe/1"] = "network-rewriter/recipe/1"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LinearRecord(_Record):
    """One layer that changes its shape.

    Attributes:
        path: where it is.
        before: input and output width before.
        after: the same after the rewrite.
        bias: whether it has a bias.
        half: for the layer of a gate with both factors packed, which half is activated (0 or 1); it then applies the
            function of its site itself, since the code behind it cuts its output in halves.
    """

    path: str
    before: tuple[int, int]
    after: tuple[int, int]
    bias: bool
    half: int | None = None

    @property
    def parameters_before(self) -> int:
        """Number of weights and biases before."""
        return self.before[1] * (self.before[0] + self.bias)

    @property
    def parameters_after(self) -> int:
        """Number of weights and biases after."""
        return self.after[1] * (self.after[0] + self.bias)


class SiteRecord(_Record):
    """One rewritten site.

    Attributes:
        path: the site's name.
        kind: mlp, gated, linear, conv or embedding.
        activation: the function it had.
        owner: path of the module whose code calls the activation.
        call: which call of that code it is.
        module: path of the activation module to replace, or None to edit the owner's code.
        producer: path of the layer that feeds it.
        consumer: path of the second linear of an MLP.
        partner: path of the other factor's layer of a gated MLP with two layers.
        channels_dim: dimension of the hidden units.
        depth: its depth in the data-flow graph.
        rank: 0 for the deepest sites; sites of equal depth share a rank.
        placement: what the method puts there.
        hidden: hidden width before and after; None for a lone activation.
        chain: name of the chain of MLPs it belongs to: the path of the chain's first site.
        parameters_before: of the layers that are counted at this site: its activation, its first linear if it changes,
            and for the last site of a chain the last linear.
        parameters_after: the same after the rewrite.
    """

    path: str
    kind: Kind
    activation: str
    owner: str
    call: int
    module: str | None
    producer: str
    consumer: str | None
    partner: str | None
    channels_dim: int
    depth: int
    rank: int
    placement: Placement
    hidden: tuple[int, int] | None
    chain: str
    parameters_before: int
    parameters_after: int

    @property
    def address(self) -> ActivationAddress:
        """Where the activation is called."""
        return ActivationAddress(self.owner, self.call, self.module)


class MissRecord(_Record):
    """An activation that is not rewritten, or a module that was not captured, and why."""

    path: str
    function: str
    reason: str


class SourceRecord(_Record):
    """Where the original model came from.

    Attributes:
        spec: the source as the command line takes it, such as ``timm:resnet34``.
        checkpoint: file name of the checkpoint it was given, if any.
        inputs: what its ``forward`` takes.
    """

    spec: str
    checkpoint: str | None = None
    inputs: tuple[InputSpec, ...] = ()


class Recipe(_Record):
    """Everything that `apply` needs to rewrite a model, and that `restore` needs to build it again.

    Attributes:
        format: the version of this schema.
        method: name of the method.
        options: the options as they were resolved.
        seed: seed of the new weights.
        sites: what is rewritten, in order of depth.
        linears: the linears that change their shape.
        misses: what is not rewritten, and why.
        parameters_before: of the whole model, tied parameters counted once.
        parameters_after: the same after the rewrite.
        source: where the model came from, when it was loaded from a source.
    """

    format: Literal["network-rewriter/recipe/1"] = FORMAT
    method: str
    options: dict[str, JsonValue]
    seed: int
    sites: tuple[SiteRecord, ...]
    linears: tuple[LinearRecord, ...]
    misses: tuple[MissRecord, ...]
    parameters_before: int
    parameters_after: int
    source: SourceRecord | None = None

    @property
    def holds_budget(self) -> bool:
        """Whether the chosen width promises not to exceed the original parameters at the resized sites."""
        return self.options.get("width") in ("match", "paper")

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a recipe from a JSON file.

        Raises:
            UsageError: the file is missing, is not JSON, or does not follow the schema.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            found, remedy = error.strerror or str(error), "name a folder that `rewrite-model apply` wrote"
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            found, remedy = f"{where}: {first['msg']}", "write the recipe again with this version"
        raise UsageError(expected=f"a recipe of format {FORMAT} in {path}", found=found, remedy=remedy)
