"""The rewrites of an exported graph, in their order."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from export.graph.attention import keep_heads_side_by_side
from export.graph.branches import share_functions_of_branches
from export.graph.gates import tanh_gates_as_sigmoids
from export.graph.known_sizes import compute_known_sizes
from export.graph.linear_branches import compose_linear_branches
from export.graph.lookups import keep_shapes_in_lookups, take_rows_of_constants
from export.graph.neutral import remove_neutral_operations
from export.graph.paddings import keep_zeros_before_maxima
from export.graph.rows import multiply_rows
from export.graph.scales import move_scales_into_weights

_LARGEST_SHARED = 2**16
"""The most elements of constants that are compared with each other; weights are larger, and no two are the same."""


def lighten(model: ir.Model) -> None:
    """Rewrite the main graph of ``model`` in place: fewer nodes, the same function up to rounding, no constant twice.

    All weights must be constants: a rewrite may put their products in their place.
    """
    graph = model.graph
    compute_known_sizes(graph)
    keep_heads_side_by_side(graph)
    take_rows_of_constants(graph)
    keep_shapes_in_lookups(graph)
    tanh_gates_as_sigmoids(graph)
    share_functions_of_branches(graph)  # bounds, behind which scales are looked for
    move_scales_into_weights(graph)
    share_functions_of_branches(graph)
    compose_linear_branches(graph)
    remove_neutral_operations(graph)
    multiply_rows(graph)
    keep_zeros_before_maxima(model)
    for cleaning in (
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.DeduplicateInitializersPass(size_limit=_LARGEST_SHARED),
        common.RemoveUnusedNodesPass(),
    ):
        cleaning(model)
