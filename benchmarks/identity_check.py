"""Rewrite one model of the zoo with the functions it has: the outputs must stay what they are, bit for bit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import rewriter
from benchmarks.zoo_model import ZooModel, drawn
from rewriter.errors import NoSiteError
from rewriter.evaluation import call
from rewriter.methods import Method, MethodConfig, Placement, register
from rewriter.sites import Site
from rewriter.sites.site import Kind
from rewriter.surgery.copies import copied
from rewriter.surgery.operation import operate
from rewriter.tracing.trace import reason
from rewriter.validation.exact import check_exact

IDENTITY: Final = "identity"


@register
class Identity(Method[MethodConfig]):
    """Every site gets the function that it has."""

    name: ClassVar[str] = IDENTITY
    summary: ClassVar[str] = "the function that every site has"
    config: ClassVar[type[MethodConfig]] = MethodConfig
    kinds: ClassVar[frozenset[Kind]] = frozenset({"mlp", "gated", "linear", "conv", "embedding"})

    def refuse(self, site: Site, config: MethodConfig) -> str | None:
        """Refuse no site."""
        return None

    def place(self, site: Site, rank: int, config: MethodConfig) -> Placement:
        """Put the same function there."""
        return Placement(function=str(site.activation), branches=1, settings={})

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Stand for the function, which is known from the trace alone."""
        return nn.Identity()


@dataclass(frozen=True)
class IdentityRow:
    """What a rewrite with the same functions showed.

    Attributes:
        library: where the model comes from.
        name: its name there.
        family: the line of the table it is counted in.
        method: always ``identity``.
        outcome: ``ok``, ``differs``, ``failed``, ``no site`` or ``out of scope``.
        reason: what differs or failed first; empty when all is well.
        sites: number of sites, each with the function that it had.
        modes: the modes in which the outputs were compared bit for bit.
        split: number of MLPs that ``hdfgd`` splits, carried out exactly: branches with the old weights, equal up to
            rounding.
        seconds: wall-clock seconds of all checks, building the model included.
    """

    library: str
    name: str
    family: str
    method: str = IDENTITY
    outcome: str = "ok"
    reason: str = ""
    sites: int = 0
    modes: str = ""
    split: int = 0
    seconds: float = 0.0


def check_identity(entry: ZooModel) -> IdentityRow:
    """Rewrite one model; an exception becomes a row with its first line, never an exception."""
    row = IdentityRow(entry.library, entry.name, entry.family)
    if entry.out_of_scope is not None:
        return replace(row, outcome="out of scope", reason=entry.out_of_scope)
    started = time.perf_counter()
    try:
        torch.manual_seed(0)
        model, inputs = entry.load()
        row = _compared(row, model, drawn(inputs))
    except NoSiteError as error:
        row = replace(row, outcome="no site", reason=error.found)
    except Exception as error:  # whatever happens to one model must not stop the run
        row = replace(row, outcome="failed", reason=reason(error))
    return replace(row, seconds=round(time.perf_counter() - started, 2))


def _compared(row: IdentityRow, model: nn.Module, inputs: Mapping[str, Any]) -> IdentityRow:
    recipe = rewriter.plan(model, IDENTITY, example_inputs=inputs)
    originals = {site.path: site for site in rewriter.capture(model, inputs).sites}
    functions = {}
    for site in recipe.sites:
        make = originals[site.path].original
        functions[site.path] = make() if make is not None else copied(model.get_submodule(str(site.module)))
    rewritten, original = operate(copied(model), recipe, functions), copied(model)
    row = replace(row, sites=len(recipe.sites))
    modes: list[str] = []
    for mode in ("eval", "train"):
        want, got, again = (_run(one, inputs, training=mode == "train") for one in (original, rewritten, copied(model)))
        if isinstance(want, str) or isinstance(again, str):
            if mode == "eval":
                raise RuntimeError(want)
            continue  # it trains on other inputs, such as labels
        if not _equal(want, again):
            continue  # it gives something else every time
        if isinstance(got, str):
            return replace(row, outcome="differs", reason=f"{mode}: {got}")
        if not _equal(want, got):
            return replace(row, outcome="differs", reason=f"{mode}: outputs differ")
        modes.append(mode)
    row = replace(row, modes=" ".join(modes))
    try:
        split = rewriter.plan(model, "hdfgd", example_inputs=inputs)
    except NoSiteError:
        return row
    why = check_exact(model, split, inputs)
    return replace(row, split=len(split.sites), reason=f"hdfgd not compared: {why}" if why else "")


@torch.no_grad()
def _run(model: nn.Module, inputs: Mapping[str, Any], *, training: bool) -> list[Tensor] | str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            outputs = call(model.train(training), {name: _clone(value) for name, value in inputs.items()})
        except Exception as error:  # a forward may raise anything
            return reason(error)
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _equal(one: list[Tensor], other: list[Tensor]) -> bool:
    same = len(one) == len(other)
    return same and all(_same(a, b) for a, b in zip(one, other, strict=True))


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())  # NaN is NaN's equal here
