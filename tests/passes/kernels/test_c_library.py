import ctypes
import re
import tempfile

import pytest
import torch

from passes.functions import decomposition
from passes.kernels import c_library
from passes.layers import SplitActivation
from tests.passes.kernels.compared import needs_compiler, points


def test_the_compiler_is_named(monkeypatch):
    assert c_library.is_available() == bool(re.search(r"\d+\.\d+", c_library.compiler()))  # its version, else "none"
    monkeypatch.setenv("CC", "")
    assert c_library.compiler() == "none"


@pytest.mark.parametrize("compiler", ["", "false", "no-such-compiler", "gcc -no-such-option"])
def test_torch_operations_serve_where_nothing_compiles(compiler, monkeypatch):
    layer, values = SplitActivation(decomposition("gelu/4"), dim=-1), points(4).requires_grad_()
    expected = layer(values)
    (slope,) = torch.autograd.grad(expected.sum(), values)
    monkeypatch.setenv("CC", compiler)
    assert not c_library.is_available()
    value = layer(values)
    (own,) = torch.autograd.grad(value.sum(), values)
    assert torch.allclose(value, expected, rtol=1e-5, atol=1e-6)
    assert torch.allclose(own, slope, rtol=1e-5, atol=1e-6)


def test_torch_operations_serve_where_no_file_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert c_library.compiled("void run(void) { /* nowhere */ }", ()) is None


@needs_compiler
def test_a_library_leaves_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = c_library.compiled("void run(int *x) { *x = 7; }", (ctypes.c_void_p,))
    number = ctypes.c_int()
    run(ctypes.addressof(number))
    assert number.value == 7
    assert list(tmp_path.iterdir()) == []
