"""The layers between the ends of an MLP: what they cost for each hidden unit, and their new shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from torch import nn

from rewriter.channelwise import divisor, per_channel
from rewriter.layouts import features, taps
from rewriter.recipe.schema import ChannelwiseRecord, LinearRecord
from rewriter.recipe.widths import Inner
from rewriter.sites.site import InnerLayer


def inner_shape(layers: Iterable[InnerLayer], units: int, branches: int) -> Inner:
    """Count the parameters of the layers between for each hidden unit.

    Args:
        layers: the layers; in a squeeze-and-excite the biases that do not depend on the hidden width are left out.
        units: the hidden width they have now.
        branches: how many values each hidden unit has ahead of the activation after the rewrite.
    """
    before = after = square = 0
    divisors = [1]
    for inner in layers:
        if inner.role == "channelwise":
            each = per_channel(inner.layer, units)
            before += each
            after += each * (branches if inner.wide else 1)
            divisors.append(divisor(inner.layer, units))
            continue
        fan_in, fan_out = features(inner.layer)
        each = {"reads": fan_out * taps(inner.layer), "makes": fan_in * taps(inner.layer), "maps": 0}[inner.role]
        each += has_bias(inner.layer) if inner.role != "reads" else 0
        square += taps(inner.layer) if inner.role == "maps" else 0
        before, after = before + each, after + each
    return Inner(before, after, square, math.lcm(*divisors))


def inner_records(
    site: str | None, layers: Iterable[InnerLayer], before: int, after: int, branches: int
) -> Iterator[LinearRecord | ChannelwiseRecord]:
    """Give the new shapes of the layers between.

    Args:
        site: path of the site whose hidden units they follow; None for a lone activation, whose layer keeps its units.
        layers: the layers.
        before: the hidden width they have now.
        after: the new one.
        branches: how many values each hidden unit has ahead of the activation after the rewrite.
    """
    for inner in layers:
        if inner.role == "channelwise":
            held = branches if inner.wide else 1
            each = per_channel(inner.layer, before)
            yield ChannelwiseRecord(
                path=inner.path, before=before, after=held * after, per_channel=each, branches=held, site=site
            )
            continue
        fan_in, fan_out = features(inner.layer)
        shape = (after if inner.role != "makes" else fan_in, after if inner.role != "reads" else fan_out)
        yield LinearRecord(
            path=inner.path,
            before=(fan_in, fan_out),
            after=shape,
            bias=has_bias(inner.layer),
            taps=taps(inner.layer),
            site=site,
        )


def has_bias(layer: nn.Module) -> bool:
    """Say whether a layer has a bias."""
    return getattr(layer, "bias", None) is not None
