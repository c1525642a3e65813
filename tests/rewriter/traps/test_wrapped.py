"""Models that something else holds on to are refused at every door, with what to rewrite instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, fx, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

import rewriter

PAGE = (Path(__file__).parents[3] / "docs" / "traps.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.filterwarnings("ignore")


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


@pytest.fixture
def one_process() -> Iterator[None]:
    """A group of one process on the CPU."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def compiled_in_place() -> nn.Module:
    model = mlp()
    model.compile()
    return model


def sharded() -> nn.Module:
    model = mlp()
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    return model


def tensor_parallel() -> nn.Module:
    return parallelize_module(mlp(), init_device_mesh("cpu", (1,)), {"0": ColwiseParallel()})


def scripted() -> nn.Module:
    return torch.jit.script(mlp())


WRAPPED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "DataParallel": (lambda: nn.DataParallel(mlp()), "found DataParallel; rewrite model.module, then wrap"),
    "DistributedDataParallel": (
        lambda: nn.parallel.DistributedDataParallel(mlp()),
        "found DistributedDataParallel; rewrite model.module, then wrap",
    ),
    "FSDP": (
        lambda: FullyShardedDataParallel(mlp(), device_id=torch.device("cpu")),
        "found FullyShardedDataParallel; rewrite model.module, then wrap",
    ),
    "FSDP2": (sharded, "found a sharded FSDPSequential; rewrite the model before you shard it"),
    "tensor parallel": (tensor_parallel, "found a sharded Linear at 0; rewrite the model before you shard it"),
    "torch.compile": (
        lambda: torch.compile(mlp()),
        "found OptimizedModule; rewrite model._orig_mod, then compile the rewritten model",
    ),
    "compile in place": (compiled_in_place, r"found Sequential with compile\(\) called on it; rewrite a fresh model"),
    "scripted": (scripted, "found a scripted model; rewrite the model that it was scripted from"),
    "lazy": (
        lambda: nn.Sequential(nn.LazyLinear(8), nn.GELU(), nn.LazyLinear(4)),
        "found LazyLinear without a shape at 0; run the model once on an example input",
    ),
    "a wrapper inside": (
        lambda: nn.Sequential(mlp(), nn.DataParallel(mlp())),
        "found DataParallel at 1; rewrite model.1.module",
    ),
    "a compiled block inside": (
        lambda: nn.Sequential(mlp(), torch.compile(mlp())),
        "found OptimizedModule at 1; rewrite model.1._orig_mod, then compile",
    ),
}

DOORS: dict[str, Callable[[nn.Module, Path], object]] = {
    "capture": lambda model, out: rewriter.capture(model),
    "plan": lambda model, out: rewriter.plan(model, "ga"),
    "rewrite": lambda model, out: rewriter.rewrite(model, "ga"),
    "apply": lambda model, out: rewriter.apply(model, rewriter.plan(mlp(), "ga"), inplace=True),
    "graph_pass": lambda model, out: rewriter.graph_pass("ga")(model),
    "restore": lambda model, out: rewriter.restore(model, out),
}


@pytest.mark.parametrize("case", WRAPPED)
@pytest.mark.usefixtures("one_process")
def test_it_is_refused_at_every_door_with_what_the_page_says_and_left_as_it_was(case: str, tmp_path: Path) -> None:
    rewriter.save(rewriter.rewrite(mlp(), "ga"), tmp_path / "out")
    make, message = WRAPPED[case]
    model = make()
    modules = list(model.modules())
    for door in DOORS.values():
        with pytest.raises(rewriter.UsageError, match=message) as refusal:
            door(model, tmp_path / "out")
        assert refusal.value.exit_code == 2
        assert "\n" not in str(refusal.value)
        if " inside" not in case:
            assert refusal.value.remedy in PAGE
    assert list(model.modules()) == modules


def test_what_is_no_module_is_refused_at_every_door(tmp_path: Path) -> None:
    rewriter.save(rewriter.rewrite(mlp(), "ga"), tmp_path / "out")
    for door in DOORS.values():
        with pytest.raises(rewriter.UsageError, match=r"an nn\.Module; found OrderedDict; give"):
            door(mlp().state_dict(), tmp_path / "out")


WAYS_BACK: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": nn.parallel.DistributedDataParallel,
    "torch.compile": lambda model: torch.compile(model, backend="eager"),
}


@pytest.mark.parametrize("wrapper", WAYS_BACK)
@pytest.mark.parametrize("method", ["ga", "sa"])
@pytest.mark.usefixtures("one_process")
def test_the_inner_model_is_rewritten_wrapped_again_and_trains(wrapper: str, method: str) -> None:
    wrap = WAYS_BACK[wrapper]
    wrapped = wrap(mlp())
    inner = wrapped._orig_mod if wrapper == "torch.compile" else wrapped.module
    again = wrap(rewriter.rewrite(inner, method).model)
    again(torch.randn(3, 4)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in again.parameters())


def test_a_rewritten_model_is_compiled_whole() -> None:
    model = rewriter.rewrite(nn.Sequential(Functional(), nn.Linear(4, 2)), "sa").model
    x = torch.randn(3, 4)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


def test_a_lazy_model_that_has_run_once_is_rewritten() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.LazyLinear(8), nn.GELU(), nn.LazyLinear(4))
    model(torch.randn(2, 4))
    result = rewriter.rewrite(model, "sa")
    assert result.recipe.sites[0].kind == "mlp"
    assert result.model(torch.randn(2, 4)).shape == (2, 4)


def test_what_only_averages_or_traces_a_model_is_no_wrapper() -> None:
    averaged = torch.optim.swa_utils.AveragedModel(mlp())
    assert [site.path for site in rewriter.plan(averaged, "sa").sites] == ["module.1"]
    assert rewriter.plan(fx.symbolic_trace(mlp()), "sa").sites
