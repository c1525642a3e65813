from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export.parity import prove
from export.steps import Recording
from export.targets import TARGETS
from rewriter.errors import ValidationError
from rewriter.sources.inputs import InputSpec

SPECS = [InputSpec(name="x", shape=(5, 8))]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def blocks() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Block(), Block(), Block(), nn.Flatten(), nn.Linear(40, 6))


def exported(model: nn.Module, target: str, folder: Path) -> Path:
    path = folder / TARGETS[target].filename
    TARGETS[target].export(model, SPECS, path)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The ONNX graph of ``blocks()``, exported once; each test wrongs a copy of it."""
    return onnx.load(exported(blocks(), "onnx", tmp_path_factory.mktemp("sound")))


def copied(sound: onnx.ModelProto) -> onnx.ModelProto:
    wrong = onnx.ModelProto()
    wrong.CopyFrom(sound)
    return wrong


def nodes(graph: onnx.GraphProto, operation: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == operation]


def message(model: nn.Module, path: Path, target: str) -> str:
    with pytest.raises(ValidationError) as caught:
        prove(model, SPECS, path, target)
    return str(caught.value)


def faulty(model: nn.Module, fault: Callable[[nn.Module], None]) -> nn.Module:
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        fault(wrong)
    return wrong


def bend_second_down(model: nn.Module) -> None:
    model[1].down.weight[0, 0] *= 1.5


@pytest.mark.parametrize(
    ("operation", "becomes", "module"),
    [
        ("Add", "Sub", ["0.up", "0.down", "0", "1.up", "1.down", "1", "2.up", "2.down", "2"]),
        ("Gelu", "Tanh", ["0", "1", "2"]),
    ],
)
def test_a_wrong_operator_in_an_onnx_graph_is_named_with_its_module(
    sound: onnx.ModelProto, operation: str, becomes: str, module: list[str], tmp_path: Path
) -> None:
    model, path = blocks(), tmp_path / "model.onnx"
    assert len(nodes(sound.graph, operation)) == len(module)
    for index, owner in enumerate(module):
        wrong = copied(sound)
        node = nodes(wrong.graph, operation)[index]
        node.op_type = becomes
        del node.attribute[:]
        onnx.save(wrong, path)
        assert f"the first to differ is node {node.name!r} ({becomes}), in module {owner!r} (aten." in message(
            model, path, "onnx"
        )


@pytest.mark.parametrize("operation", ["MatMul", "Gemm"])
def test_one_weight_in_an_onnx_graph_bent_by_1_percent_is_traced_to_the_product_that_uses_it(
    sound: onnx.ModelProto, operation: str, tmp_path: Path
) -> None:
    model, path = blocks(), tmp_path / "model.onnx"
    for node in nodes(sound.graph, operation):
        wrong = copied(sound)
        weight = next(one for one in wrong.graph.initializer if one.name == node.input[1])
        values = numpy_helper.to_array(weight).copy()
        values.flat[abs(values).argmax()] *= 1.01
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        onnx.save(wrong, path)
        assert f"the first to differ is node {node.name!r} ({operation})" in message(model, path, "onnx")


@pytest.mark.parametrize("target", ["onnx", "torchscript", "pt2"])
def test_the_module_that_differs_is_named_for_every_target(target: str, tmp_path: Path) -> None:
    model = blocks()
    path = exported(faulty(model, bend_second_down), target, tmp_path)
    assert "module '1.down' (aten.mm), where the error jumps from " in message(model, path, target)


@pytest.mark.parametrize("target", ["onnx", "torchscript", "pt2"])
def test_a_fault_behind_folded_norms_is_found(resnet, target: str, tmp_path: Path) -> None:
    model, specs = resnet
    wrong = faulty(model, lambda model: model.layer3[0].conv2.weight[3].mul_(2))
    path = tmp_path / TARGETS[target].filename
    TARGETS[target].export(wrong, specs, path)
    with pytest.raises(ValidationError, match=r"module 'layer3\.0\.conv2' \(aten\.convolution\)"):
        prove(model, specs, path, target, (2,))


@pytest.mark.parametrize("target", ["onnx", "torchscript", "pt2"])
def test_a_fault_in_a_text_model_is_found(text, target: str, tmp_path: Path) -> None:
    model, specs = text
    wrong = faulty(model, lambda model: model.encoder.layer[0].attention.self.value.bias.add_(0.1))
    path = tmp_path / TARGETS[target].filename
    TARGETS[target].export(wrong, specs, path)
    with pytest.raises(ValidationError, match=r"in module 'encoder\.layer\.0\.attention\.self\.value'|module 'encoder"):
        prove(model, specs, path, target, (2,))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.first(x)
        return first, self.second(x), first.argmax(-1)


@pytest.mark.parametrize("target", ["onnx", "torchscript", "pt2"])
@pytest.mark.parametrize("head", ["first", "second"])
def test_a_head_is_not_excused_by_a_right_one_beside_it(target: str, head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    wrong = faulty(model, lambda model: model.get_submodule(head).weight.mul_(1.1))
    assert f"module {head!r} (aten.mm)" in message(model, exported(wrong, target, tmp_path), target)


def test_a_wrong_class_is_traced_to_the_node_that_chooses_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    path = exported(model, "onnx", tmp_path)
    wrong = onnx.load(path)
    (node,) = nodes(wrong.graph, "ArgMax")
    node.op_type = "ArgMin"
    onnx.save(wrong, path)
    said = message(model, path, "onnx")
    assert "in 'output_2' at batch 1 (eager" in said
    assert f": the first to differ is node {node.name!r} (ArgMin)" in said


def test_outputs_in_another_order_are_no_node_s_fault(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    path = exported(model, "onnx", tmp_path)
    wrong = onnx.load(path)
    outputs = list(wrong.graph.output)
    del wrong.graph.output[:]
    wrong.graph.output.extend([outputs[1], outputs[0], outputs[2]])
    onnx.save(wrong, path)
    assert "every value inside agrees when it is watched" in message(model, path, "onnx")


def test_a_value_that_only_the_export_makes_nan_is_found(sound: onnx.ModelProto, tmp_path: Path) -> None:
    model, path = blocks(), tmp_path / "model.onnx"
    wrong = copied(sound)
    node = nodes(wrong.graph, "Gelu")[1]
    node.op_type = "Log"
    del node.attribute[:]
    onnx.save(wrong, path)
    found = message(model, path, "onnx")
    assert "found inf in 'output'" in found
    assert f"node {node.name!r} (Log), in module '1' (aten.gelu)" in found


def test_a_target_that_cannot_be_watched_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = blocks()
    monkeypatch.setitem(TARGETS, "pt2", dataclasses.replace(TARGETS["pt2"], record=None))
    path = exported(faulty(model, bend_second_down), "pt2", tmp_path)
    assert "what is inside model.pt2 cannot be watched, so no node is named" in message(model, path, "pt2")


def test_a_file_that_does_not_run_watched_is_still_a_parity_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(path: Path, inputs: object) -> Recording:
        raise RuntimeError("no such luck")

    model = blocks()
    monkeypatch.setitem(TARGETS, "pt2", dataclasses.replace(TARGETS["pt2"], record=record))
    path = exported(faulty(model, bend_second_down), "pt2", tmp_path)
    assert "does not run with its values watched (RuntimeError: no such luck)" in message(model, path, "pt2")


def test_half_precision_hides_no_fault(tmp_path: Path) -> None:
    model = blocks().half()
    path = exported(faulty(model, lambda model: model[1].up.weight.mul_(1.2)), "pt2", tmp_path)
    assert "module '1.up' (aten.mm), where the error jumps from " in message(model, path, "pt2")


def test_watching_leaves_files_and_model_alone(sound: onnx.ModelProto, tmp_path: Path) -> None:
    model, path = faulty(blocks(), bend_second_down), tmp_path / "model.onnx"
    onnx.save(sound, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    message(model, path, "onnx")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_weights_in_a_file_of_their_own_are_found(sound: onnx.ModelProto, tmp_path: Path) -> None:
    model, path = faulty(blocks(), bend_second_down), tmp_path / "model.onnx"
    onnx.save(copied(sound), path, save_as_external_data=True, location="weights", size_threshold=64)
    assert "in module '1.down' (aten.mm)" in message(model, path, "onnx")
