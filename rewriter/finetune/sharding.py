"""A model whose parameters, gradients and moments are shared out among the processes (FSDP2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from rewriter.errors import UsageError


def shard(model: nn.Module, device: torch.device, processes: int) -> None:
    """Share the parameters of a model out among all processes, in place.

    Each block, an element of an outermost ``ModuleList`` or ``Sequential``, is gathered while it runs, which every
    process does in every step; the rest of the model is gathered as a whole. Scalars stay whole in every process.

    Args:
        model: the same in every process; moved to the device.
        device: of this process.
        processes: how many there are.

    Raises:
        UsageError: the parameters have several dtypes, which cannot be gathered together.
    """
    dtypes = {parameter.dtype for parameter in model.parameters()}
    if len(dtypes) > 1:
        raise UsageError(
            expected="parameters of one dtype with --shard",
            found=", ".join(sorted(map(str, dtypes))),
            remedy="leave --shard out",
        )
    mesh = init_device_mesh(device.type, (processes,))
    scalars = {parameter for parameter in model.parameters() if not parameter.ndim}
    for scalar in scalars:
        scalar.data = scalar.data.to(device)
    for block in [*_blocks(model), model]:
        # The model's own parameters too, or they were not those of the optimizer after a forward without a backward.
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)


def average_whole_gradients(model: nn.Module) -> None:
    """Average the gradients of the scalars of a sharded model over all processes; do nothing for other models."""
    if not isinstance(model, FSDPModule):
        return
    for parameter in model.parameters():
        if not parameter.ndim and parameter.requires_grad:
            if parameter.grad is None:  # no example of this process used it
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= torch.distributed.get_world_size()


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost blocks that have a forward and share no parameter with the rest of the model."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    inside: tuple[str, ...] = ()
    for path, container in list(model.named_modules()):
        if not isinstance(container, nn.ModuleList | nn.Sequential) or f"{path}.".startswith(inside):
            continue
        for name, block in container.named_children():
            prefix = f"{path}.{name}." if path else f"{name}."
            inside = (*inside, prefix)
            own = [owner for parameter in block.parameters() for owner in owners[id(parameter)]]
            if own and all(owner.startswith(prefix) for owner in own) and not isinstance(block, nn.ModuleList):
                yield block
