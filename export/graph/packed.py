"""Recognizes packed branches in an ONNX graph: one layer whose output channels are split into parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from export.graph.constants import array_of, float64, replace_constant, scalar_of, used_once


@dataclass(frozen=True)
class PackedLayer:
    """A layer with constant weights that only a ``Split`` reads, along the layer's output channels.

    Attributes:
        split: the ``Split``.
        weight: the node and the index of its input that holds the weights.
        channels: the axis of the weights that the output channels are on.
        bias: the same of the bias, whose last axis are the channels; None where there is none.
        bound: the largest magnitude that a ``Clip`` between layer and ``Split`` lets pass; None without one.
    """

    split: ir.Node
    weight: tuple[ir.Node, int]
    channels: int
    bias: tuple[ir.Node, int] | None
    bound: float | None

    @property
    def parts(self) -> list[slice]:
        """The channels of each output of the ``Split``."""
        edges = np.cumsum([0, *(output.shape[self.axis] for output in self.split.outputs if output.shape)])
        return [slice(int(start), int(end)) for start, end in pairwise(edges)]

    @property
    def axis(self) -> int:
        """The axis that is split."""
        return self.split.attributes.get_int("axis", 0)

    def scale(self, part: int, factor: float) -> None:
        """Multiply one part of the layer's output by ``factor``."""
        channels = self.parts[part]
        for place, axis in ((self.weight, self.channels), (self.bias, -1)):
            if place is not None:
                node, index = place
                array = float64(node.inputs[index])
                np.moveaxis(array, axis, 0)[channels] *= factor
                replace_constant(node, index, array)


def packed_layer(split: ir.Node) -> PackedLayer | None:
    """Return the layer whose output ``split`` divides; None where there is another kind of value, or other readers."""
    value, bound = split.inputs[0], None
    while value is not None and used_once(value) and (node := value.producer()) is not None:
        if node.op_type == "Clip" and bound is None:
            low, high = (scalar_of(limit) for limit in (*node.inputs[1:3], None, None)[:2])
            if low is None or high is None or low != -high:
                return None
            value, bound = node.inputs[0], high
        elif node.op_type == "Cast":
            value = node.inputs[0]
        else:
            layer = _layer(split, node, bound)
            return layer if layer is not None and _divides_channels(layer) else None
    return None


def _layer(split: ir.Node, node: ir.Node, bound: float | None) -> PackedLayer | None:
    bias = (node, 2) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    match node.op_type:
        case "MatMul":
            return PackedLayer(split, (node, 1), -1, None, bound)
        case "Gemm" if node.attributes.get_float("beta", 1.0) == node.attributes.get_float("alpha", 1.0) == 1.0:
            return PackedLayer(split, (node, 1), 0 if node.attributes.get_int("transB", 0) else 1, bias, bound)
        case "Conv" if node.attributes.get_int("group", 1) == 1:
            return PackedLayer(split, (node, 1), 0, bias, bound)
        case "Add":
            return _with_bias(split, node, bound)
    return None


def _with_bias(split: ir.Node, add: ir.Node, bound: float | None) -> PackedLayer | None:
    for index, other in ((0, 1), (1, 0)):
        product = add.inputs[other]
        if array_of(add.inputs[index]) is None or product is None or not used_once(product):
            continue
        node = product.producer()
        if node is not None and node.op_type == "MatMul":
            return PackedLayer(split, (node, 1), -1, (add, index), bound)
    return None


def _divides_channels(layer: PackedLayer) -> bool:
    """Check that the weights are constant and that the ``Split`` divides their output channels, of known sizes."""
    node, index = layer.weight
    weight, packed = array_of(node.inputs[index]), layer.split.inputs[0]
    if weight is None or weight.ndim < 2 or packed is None or packed.shape is None:
        return False
    channels_axis = 1 if node.op_type == "Conv" else len(packed.shape) - 1
    if layer.axis % len(packed.shape) != channels_axis:
        return False
    sizes = [output.shape[layer.axis] if output.shape else None for output in layer.split.outputs]
    if not all(isinstance(size, int) for size in sizes):
        return False
    total = weight.shape[layer.channels]
    if sum(size for size in sizes if isinstance(size, int)) != total:
        return False
    if layer.bias is None:
        return True
    bias = array_of(layer.bias[0].inputs[layer.bias[1]])
    return bias is not None and bias.ndim == 1 and bias.shape[0] == total
