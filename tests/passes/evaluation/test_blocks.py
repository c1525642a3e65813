import platform
import subprocess
import sys

import pytest
import torch

from passes.evaluation import blocks
from passes.functions import adversarial

LARGE = 3 * blocks._PER_THREAD * torch.get_num_threads()


def layouts():
    generator = torch.Generator().manual_seed(3)
    packed = torch.randn(2 * LARGE // 96, 96, generator=generator)
    return {
        "flat": torch.randn(LARGE + 7, generator=generator),
        "chunk of a row": packed.chunk(2, 1)[1],
        "transposed": packed.t(),
        "channels last": packed[: LARGE // 96].view(2, 96, -1, 1).to(memory_format=torch.channels_last),
        "one row": torch.randn(1, LARGE + 1, generator=generator),
        "expanded": torch.randn(1, 64, generator=generator).expand(LARGE // 64, 64),
        "empty": torch.empty(0, 3),
        "number": torch.tensor(0.3),
    }


@pytest.mark.parametrize("layout", layouts())
def test_blocks_change_neither_values_nor_gradients(layout):
    points = layouts()[layout]
    g = adversarial("sigmoid")
    leaf = points.detach().requires_grad_()
    result = g(leaf)
    upstream = torch.randn(points.shape, generator=torch.Generator().manual_seed(4))
    (gradient,) = torch.autograd.grad(result, leaf, upstream)
    assert result.shape == gradient.shape == points.shape
    assert torch.allclose(result, g.integral(points), rtol=1e-6, atol=0)
    assert torch.allclose(gradient, upstream * g.derivative(points), rtol=1e-6, atol=1e-30)


def test_memory_format_is_kept():
    points = layouts()["channels last"]
    assert adversarial("gelu")(points).is_contiguous(memory_format=torch.channels_last)


def test_every_block_is_small():
    seen = []
    blocks.blockwise(lambda part: seen.append(part.numel()) or part, layouts()["flat"], saturate=True)
    assert len(seen) > 2
    assert max(seen) <= blocks._PER_THREAD * torch.get_num_threads()


@pytest.mark.parametrize(
    ("shape", "memory_format", "dim"),
    [
        ((8, 200, 600), torch.contiguous_format, 0),
        ((1, 200, 600), torch.contiguous_format, 1),
        ((2, 64, 80, 90), torch.contiguous_format, 1),
        ((2, 64, 80, 90), torch.channels_last, 2),
        ((2, 3, 2), torch.contiguous_format, 1),
    ],
)
def test_blocks_are_of_elements_that_lie_together(shape, memory_format, dim, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    written = torch.empty(shape).contiguous(memory_format=memory_format)
    found = blocks.blocks_of([torch.zeros(()).expand(shape), written], written.numel() // 4)
    sizes = [part.shape for _, part in found]
    assert [part.shape for part, _ in found] == sizes
    assert all(size[:dim] + size[dim + 1 :] == written.shape[:dim] + written.shape[dim + 1 :] for size in sizes)
    assert sum(size[dim] for size in sizes) == shape[dim]


COUNT_FAULTS = """
import resource, torch
from passes.functions import adversarial
g, points = adversarial("crrelu"), torch.randn(2**23)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    g(points)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults() / (points.numel() * points.itemsize / resource.getpagesize()))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep freed memory in other ways")
def test_no_pages_but_those_of_the_result_are_mapped():
    result = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 1.5
