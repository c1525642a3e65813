"""Loading a checkpoint into a model: everything is checked before anything is copied."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from rewriter.checkpoints.finite import require_finite
from rewriter.checkpoints.matching import match_checkpoint, unexpected_constant
from rewriter.checkpoints.reading import stored_tensors
from rewriter.errors import CheckpointError


def load_checkpoint(model: nn.Module, path: Path, *, trust_pickle: bool = False) -> None:
    """Copy the weights of ``path`` into ``model``, whose devices and dtypes stay.

    See `match_checkpoint` for what must be there; that is checked before any value is read. Floating-point dtypes of 16
    bits and more are converted into each other.

    Args:
        model: what the weights go to.
        path: see `stored_tensors`.
        trust_pickle: see `stored_tensors`.

    Raises:
        CheckpointError: the checkpoint cannot be read safely, or does not match; ``model`` is then unchanged.
    """
    origin = repr(str(path))
    own: dict[str, Tensor] = model.state_dict()
    match = match_checkpoint(model, stored_tensors(path, trust_pickle=trust_pickle), origin)
    buffers = dict(model.named_buffers(remove_duplicate=False))
    for name, stored in match.constants.items():
        if not _same(stored.load(), buffers[name]):
            raise unexpected_constant(model, origin, name)
    loaded = {id(stored): stored.load() for stored in match.given.values()}
    state = {key: loaded[id(stored)] for key, stored in match.given.items()}
    for names in match.tied:
        if any(not _same(state[names[0]], state[name]) for name in names[1:]):
            raise two_values(names, origin)
    converted = {key: tensor.to(own[key].dtype) for key, tensor in state.items()}
    # Infinities are legitimate where the model's own constructor puts them, as in an attention mask.
    changed = {key: tensor for key, tensor in converted.items() if not _same(tensor, own[key])}
    require_finite(changed, origin)
    # Some modules ask for the version of the layout that a state dict has; here it is the model's own.
    versioned = OrderedDict({key: converted.get(key, tensor) for key, tensor in own.items()})
    versioned._metadata = own._metadata  # type: ignore[attr-defined]
    _give_memory(model)
    model.load_state_dict(versioned)


def _give_memory(model: nn.Module) -> None:
    """Give buffers that stand for one value many times, which cannot be written to, memory for each."""
    own: dict[int, Tensor] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and any(
                n > 1 and step == 0 for n, step in zip(buffer.shape, buffer.stride(), strict=True)
            ):
                whole = own.setdefault(id(buffer), buffer.clone(memory_format=torch.contiguous_format))
                module._buffers[name] = whole


def two_values(names: tuple[str, ...], origin: str) -> CheckpointError:
    """Make the error for a tied tensor of which a checkpoint has more than one value."""
    return CheckpointError(
        expected=f"one value for the tied names {', '.join(names)}",
        found=f"{origin} with several",
        remedy="untie them in the model, or use a checkpoint of the tied model",
    )


def _same(a: Tensor, b: Tensor) -> bool:
    plain = a.layout is b.layout is torch.strided and not (a.is_meta or b.is_meta)
    return plain and a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.cpu(), b.cpu())
