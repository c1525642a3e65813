from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from export.exporter import exporting, one_line
from rewriter.errors import ExportError, UsageError

EXPORT_ALL = """
import sys
from pathlib import Path
import torch
from torch import nn
from export import export_model
from rewriter.sources.inputs import InputSpec
model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).train()
export_model(model, [InputSpec(name="input", shape=(8,))], Path(sys.argv[1]), ["onnx", "torchscript", "pt2"])
"""


def test_nothing_of_an_exporter_reaches_the_terminal(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", EXPORT_ALL, tmp_path / "out"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_silenced_is_heard_again(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExportError), exporting("it"):  # noqa: PT012
        assert not torch.is_grad_enabled()
        print("inside")
        warnings.warn("inside", stacklevel=1)
        logging.getLogger("x").error("inside")
        raise ValueError("no")
    print("after")
    logging.getLogger("x").error("after")
    assert capsys.readouterr().out == "after\n"
    assert caplog.messages == ["after"]
    assert torch.is_grad_enabled()


def test_the_innermost_reason_is_told_in_one_line() -> None:
    error = RuntimeError("step 1 of 3 failed")
    error.__cause__ = ValueError("\x1b[31mthe axis\x1b[0m\n\n  is fixed")
    assert one_line(error) == "ValueError: the axis is fixed"
    assert len(one_line(ValueError("long " * 1000))) < 400


def test_an_error_of_the_project_keeps_its_class() -> None:
    with pytest.raises(UsageError), exporting("it"):
        raise UsageError(expected="a", found="b", remedy="c")
