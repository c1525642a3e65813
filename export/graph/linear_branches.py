"""Composes the branches that a combine only adds with the layer behind it.

``V(x₁ + u) + c`` with the branch ``x₁ = W₁x + b₁`` is ``Vu + (VW₁)x + (Vb₁ + c)``: the branch becomes as wide as the
output, and the combine has one term fewer to read and to add.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from export.graph.constants import array_of, constant, float64, replace_constant, used_once
from export.graph.packed import PackedLayer, packed_layer
from export.graph.sums import Term, sum_of, summands


def compose_linear_branches(graph: ir.Graph) -> None:
    """Compose wherever ``MatMul`` layers with biases stand on both sides of a sum, and this takes no more products."""
    for product in list(graph):
        if product.op_type == "MatMul" and (bias := _bias_after(product)) is not None:
            _compose(graph, product, *bias)


@dataclass(frozen=True)
class _Composition:
    """The layer of the branches, and the summands: those that are branches as they are, and the rest."""

    layer: PackedLayer
    linear: list[Term]
    rest: list[Term]


def _bias_after(product: ir.Node) -> tuple[ir.Node, int] | None:
    """Return the ``Add`` of a bias that alone reads a product with constant weights, and where the bias enters."""
    weight = array_of(product.inputs[1])
    if weight is None or weight.ndim != 2 or not used_once(product.outputs[0]):
        return None
    ((add, index),) = product.outputs[0].uses()
    bias = array_of(add.inputs[1 - index]) if add.op_type == "Add" else None
    return (add, 1 - index) if bias is not None and bias.shape == (weight.shape[1],) else None


def _compose(graph: ir.Graph, product: ir.Node, add: ir.Node, bias_index: int) -> None:
    total = product.inputs[0]
    assert total is not None
    terms, sums = summands(total)
    found = _composition(terms)
    if found is None:
        return
    behind, bias = float64(product.inputs[1]), float64(add.inputs[bias_index])
    if behind.shape[1] > len(found.linear) * behind.shape[0]:
        return
    remaining = sum_of(graph, product, found.rest)
    product.replace_input_with(0, remaining)
    graph.remove(sums, safe=True)
    add.replace_input_with(bias_index, _composed_branch(graph, found, behind, bias))


def _composition(terms: list[Term]) -> _Composition | None:
    splits = [node for term in terms if (node := term.value.producer()) is not None and node.op_type == "Split"]
    layer = packed_layer(splits[0]) if splits else None
    if layer is None or layer.bias is None or layer.weight[0].op_type != "MatMul" or layer.bound is not None:
        return None
    if layer.bias[0].outputs[0] is not layer.split.inputs[0]:  # a cast: the two layers have another dtype
        return None
    linear = [term for term in terms if term.value.producer() is layer.split and used_once(term.value)]
    rest = [term for term in terms if term not in linear]
    kept = any(array_of(term.value) is None for term in rest) and any(term.sign > 0 for term in rest)
    return _Composition(layer, linear, rest) if linear and kept and len(linear) < len(layer.split.outputs) else None


def _composed_branch(
    graph: ir.Graph, found: _Composition, behind: NDArray[np.float64], bias: NDArray[np.float64]
) -> ir.Value:
    """Put the composed weights behind those of the branches that stay, and split anew; return the new branch."""
    layer, parts = found.layer, found.layer.parts
    composed = {term.value.index(): term.sign for term in found.linear}
    staying = [i for i in range(len(parts)) if i not in composed]
    assert layer.bias is not None
    for (node, index), extra in ((layer.weight, 0.0), (layer.bias, bias)):
        array = float64(node.inputs[index])
        new = sum(sign * (array[..., parts[i]] @ behind) for i, sign in composed.items() if i is not None) + extra
        replace_constant(node, index, np.concatenate([*(array[..., parts[i]] for i in staying), new], axis=-1))
    sizes = [parts[i].stop - parts[i].start for i in staying] + [behind.shape[1]]
    for node, _ in (layer.weight, layer.bias):
        _widen(node.outputs[0], sum(sizes))
    return _split_anew(graph, layer.split, staying, sizes)


def _split_anew(graph: ir.Graph, split: ir.Node, staying: list[int], sizes: list[int]) -> ir.Value:
    packed = split.inputs[0]
    assert packed is not None
    new = ir.node(
        "Split",
        [packed, constant(graph, f"{split.name}_sizes", np.array(sizes, dtype=np.int64))],
        {"axis": -1},
        num_outputs=len(sizes),
        name=f"{split.name}_composed",
    )
    graph.insert_before(split, new)
    for output, size in zip(new.outputs, sizes, strict=True):
        output.type, output.shape = packed.type, packed.shape
        _widen(output, size)
    for old, output in zip([split.outputs[i] for i in staying], new.outputs, strict=False):
        output.name = f"{old.name}_branch"
        old.replace_all_uses_with(output)
    composed = new.outputs[-1]
    composed.name = f"{packed.name}_composed"
    graph.remove(split, safe=True)
    return composed


def _widen(value: ir.Value, width: int) -> None:
    if value.shape is not None:
        value.shape = ir.Shape([*value.shape[:-1], width])
