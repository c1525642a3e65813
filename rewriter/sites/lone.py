"""The layer of a lone activation, which keeps its output width but may be split over a low-rank factor."""

from __future__ import annotations

from rewriter.layouts import features
from rewriter.sites.hidden_flow import HiddenEnd, HiddenFlow
from rewriter.sites.obstacles import Obstacles
from rewriter.sites.operations import Operations
from rewriter.sites.region import Region


def lone_layer(operations: Operations, region: Region, obstacles: Obstacles, channels_dim: int) -> HiddenEnd | None:
    """Find the linear or dense convolution that feeds an activation and nothing else, through norms or directly.

    Returns:
        None when there is none, or when its weights cannot be replaced.
    """
    end = HiddenFlow(operations, obstacles, channels_dim).up(region)
    if isinstance(end, str):
        return None
    layer, layout = operations.module(end.node), operations.layout(end.node)
    if layer is None or layout is None or layout.channels_dim != channels_dim:
        return None
    units = features(layer)[1]
    if any(obstacles.channels(call.layer, channels_dim) != units for call in end.inner):
        return None
    return None if any(obstacles.to_resizing(one) for one in (layer, *(call.layer for call in end.inner))) else end
