"""The ways to run a deployed model: eager, compiled, and its exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor, nn

from export.targets import TARGETS
from rewriter.bench.steps import ready
from rewriter.errors import UsageError
from rewriter.evaluation import call
from rewriter.names import require_known

Run = Callable[[Mapping[str, Tensor]], object]
IN_PYTHON: Final = ("eager", "compiled")
PROVIDERS: Final = {
    "onnx": "CPUExecutionProvider",
    "onnx-cuda": "CUDAExecutionProvider",
    "onnx-tensorrt": "TensorrtExecutionProvider",
}
"""ONNX Runtime's execution providers by the names of the runners."""
_ERRORS_ONLY: Final = 3


def available_runners() -> tuple[str, ...]:
    """List the runners that this machine has."""
    providers = onnxruntime.get_available_providers()
    return (*IN_PYTHON, "torchscript", *(name for name, provider in PROVIDERS.items() if provider in providers))


def require_runner(name: str) -> str:
    """Return the name of a runner that this machine has.

    Raises:
        UsageError: there is no such runner, or not here.
    """
    require_known(name, (*IN_PYTHON, *TARGETS, *PROVIDERS), "runner")
    if name in PROVIDERS and name not in available_runners():
        raise UsageError(
            expected=f"an ONNX Runtime with {PROVIDERS[name]}",
            found=", ".join(onnxruntime.get_available_providers()),
            remedy=f"leave {name} out, or install such a build",
        )
    return name


def target_of(runner: str) -> str | None:
    """Return the export target whose file a runner needs; None for those that run the model itself."""
    return None if runner in IN_PYTHON else "onnx" if runner in PROVIDERS else runner


def load_runner(name: str, model: nn.Module | None, file: Path | None, threads: int) -> Run:
    """Make ready to run a model; its inputs come by name.

    Args:
        name: of the runner.
        model: for ``eager`` and ``compiled``; it is put in eval mode.
        file: for the others, the export.
        threads: of ONNX Runtime; the others take those of torch.
    """
    if model is not None:
        model.eval()
        forward = ready(model, name)
        return lambda inputs: _in_python(forward, inputs)
    assert file is not None
    if name in PROVIDERS:
        return _session(file, PROVIDERS[name], threads)
    run = TARGETS[name].load(file)
    return lambda inputs: _without_gradients(run, inputs)


def _in_python(model: nn.Module, inputs: Mapping[str, Tensor]) -> object:
    with torch.no_grad():
        return call(model, inputs)


def _without_gradients(run: Run, inputs: Mapping[str, Tensor]) -> object:
    with torch.no_grad():
        return run(inputs)


def _session(file: Path, provider: str, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # else it slows whatever is timed next
    session = onnxruntime.InferenceSession(file, options, providers=[provider])

    def run(inputs: Mapping[str, Tensor]) -> list[npt.NDArray[Any]]:
        outputs: list[npt.NDArray[Any]] = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return outputs

    return run
