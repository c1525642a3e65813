"""The values inside an ONNX graph, as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxruntime
from torch import Tensor

from export.onnx_runtime import tensor_of
from export.steps import Recording, Step

_ERRORS_ONLY = 3
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def record_onnx(path: Path, inputs: Mapping[str, Tensor]) -> Recording:
    """Run the ONNX file at ``path`` and record every tensor of its main graph; the file is only read.

    With every value watched, ONNX Runtime fuses no nodes.

    Raises:
        Exception: whatever ONNX Runtime raises for a file that it does not run.
    """
    model = onnx.load(path, load_external_data=False)
    outputs = [output.name for output in model.graph.output]
    made = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in set(outputs))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(path.absolute().parent))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {name: onnxruntime.OrtValue.from_dlpack(tensor.contiguous()) for name, tensor in inputs.items()}
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run_with_ort_values(None, feeds), strict=True))
    return _recording(model.graph, found, inputs, outputs)


def _recording(
    graph: onnx.GraphProto, found: Mapping[str, onnxruntime.OrtValue], inputs: Mapping[str, Tensor], outputs: list[str]
) -> Recording:
    steps = [Step("input", tensor, ()) for tensor in inputs.values()]
    position = {name: index for index, name in enumerate(inputs)}
    depending = set(inputs)
    for node in graph.node:
        if not depending.intersection(node.input):
            continue
        parents = tuple(sorted({position[name] for name in node.input if name in position}))
        for name in filter(None, node.output):
            depending.add(name)
            if found[name].is_tensor():
                position[name] = len(steps)
                steps.append(Step(node.op_type, tensor_of(found[name]), parents, node=node.name or name))
    return Recording(steps, tuple(position.get(name) for name in outputs))
