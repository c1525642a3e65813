"""Which activation a region is: by its name, by its values, or by a formula of its own."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from rewriter.sites.formulas import is_copy, is_linear, name_of, number, written, written_activation
from rewriter.sites.recognition import recognised
from rewriter.sites.region import Region, RegionFunction, run
from rewriter.tracing import TracedGraph
from rewriter.tracing.spellings import Activation

if TYPE_CHECKING:
    from rewriter.sites.regions import Regions


class RegionNames:
    """Finds the activations of the regions of one graph.

    Args:
        regions: of the graph.
        traced: the graph.
        model: the whole model, whose buffers formulas may read.
        known: functions recognised before, by their code; formulas recur from block to block.
    """

    def __init__(
        self, regions: Regions, traced: TracedGraph, model: nn.Module, known: dict[str, Activation | str]
    ) -> None:
        self._regions, self._traced, self._model, self._known = regions, traced, model, known
        self._parameters = dict(model.named_parameters(remove_duplicate=False))

    def of(self, region: Region) -> Activation | str:
        """Give a region's activation, or the reason why it is none that can be replaced."""
        one = self._regions.activation_of(region.exit) if len(region.nodes) == 1 else None
        trained = any(value is not region.entry for value in region.exit.all_input_nodes)
        if one is not None and (trained or one.name != "threshold"):  # which may be a ReLU
            return f"its formula reads {region.exit.all_input_nodes[-1].target}" if trained else one
        constants: dict[fx.Node, Tensor | str] = {}
        for node in region.nodes:
            for value in node.all_input_nodes:
                if value is not region.entry and value not in region.nodes:
                    constants[value] = self._constant(value)
        unknown = next((value for value in constants.values() if isinstance(value, str)), None)
        if unknown is not None:
            return f"its formula reads {unknown}"
        key = self._code(region, constants)
        if key not in self._known:
            self._known[key] = self._evaluated(region, constants)
        return self._known[key]

    def _evaluated(self, region: Region, constants: dict[fx.Node, Any]) -> Activation | str:
        found = recognised(RegionFunction(region, self._traced, constants, exact=False))
        if found is not None:
            return found
        if len(region.nodes) == 1 and (one := self._regions.activation_of(region.exit)) is not None:
            return one
        text = self._formula(region, constants)
        if text is None:
            return f"{self.shown(region)} has no formula that adversarial functions could be derived from"
        return Activation(text)

    def _constant(self, node: fx.Node) -> Tensor | str:
        """Give the value of a constant of one element, or what it is instead."""
        if node.op == "get_attr":
            path = ".".join(filter(None, (self._traced.path, str(node.target))))
            value = node.meta.get("value", tensor_at(self._model, path))
            if path in self._parameters:
                return f"the parameter {path}"
            if value is None or value.is_meta or value.numel() != 1:
                return f"{node.target}"
            return value.detach().cpu().double().reshape(())  # type: ignore[no-any-return]
        try:
            arguments = fx.map_arg(node.args, self._constant_argument)
            value = run(node, arguments, dict(node.kwargs))
        except Exception:  # an operation on values that are not at hand
            return str(getattr(node.target, "__name__", node.target))
        if not isinstance(value, Tensor):
            return torch.tensor(float(value)).double() if isinstance(value, int | float) else str(node.target)
        flat = value.detach().cpu().double().flatten()
        constant = flat.numel() > 0 and bool((flat == flat[0]).all())
        return flat[0] if constant else str(getattr(node.target, "__name__", node.target))

    def _constant_argument(self, node: fx.Node) -> Any:
        if not self._regions.is_static(node):
            return torch.zeros(1, dtype=torch.float64)  # only its dtype is read
        value = self._constant(node)
        if isinstance(value, str):
            raise TypeError(value)
        return value

    def _code(self, region: Region, constants: dict[fx.Node, Any]) -> str:
        numbers: dict[fx.Node, str] = {region.entry: "x"}
        numbers |= {node: repr(float(value)) for node, value in constants.items()}
        lines: list[str] = []
        for node in region.nodes:
            activation = self._regions.activation_of(node)
            what = str(activation) if activation is not None else repr(node.target)
            read = fx.map_arg((node.args, node.kwargs), lambda value: _Word(numbers[value]))
            lines.append(f"{what}{read}")
            numbers[node] = str(len(lines))
        return ";".join(lines)

    def _formula(self, region: Region, constants: dict[fx.Node, Any]) -> str | None:
        texts: dict[fx.Node, str] = {region.entry: "x"}
        texts |= {node: number(float(value)) for node, value in constants.items()}
        for node in region.nodes:
            activation = self._regions.activation_of(node)
            if activation is not None:
                text = written_activation(activation, texts[node.all_input_nodes[0]])
            else:
                args = [_written(value, texts) for value in node.args]
                kwargs = {key: _written(value, texts) for key, value in node.kwargs.items()}
                plain = {key: value for key, value in kwargs.items() if value is not None}
                usable = None not in args or is_copy(node)
                text = written(node, [str(value) for value in args], plain) if usable else None
            if text is None or len(text) > 390:
                return None
            texts[node] = f"({text})"
        return ast.unparse(ast.parse(texts[region.exit], mode="eval"))  # without needless parentheses

    def shown(self, region: Region) -> str:
        """Name the functions of a region, the last one first."""
        names = [
            str(self._regions.activation_of(node) or name_of(node) or node.target)
            for node in region.nodes
            if not is_linear(node) and not self._regions.rescales(node)
        ]
        return "∘".join(dict.fromkeys(reversed(names)))


class _Word(str):
    __slots__ = ()
    __repr__ = str.__str__


def _written(value: Any, texts: dict[fx.Node, str]) -> str | None:
    if isinstance(value, fx.Node):
        return texts[value]
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return None
    return "None" if value is None else number(value)


def tensor_at(model: nn.Module, path: str) -> Tensor | None:
    """Give the parameter, buffer or other tensor at a path, or None."""
    owner, _, name = path.rpartition(".")
    try:
        return getattr(model.get_submodule(owner), name)  # type: ignore[no-any-return]
    except AttributeError:
        return None
