"""Loading a checkpoint into a model: everything is checked before anything is copied."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from rewriter.checkpoints.finite import require_finite
from rewriter.checkpoints.layout import wrapper_prefix
from rewriter.checkpoints.listing import count_and_name
from rewriter.checkpoints.reading import read_state_dict
from rewriter.errors import CheckpointError


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Copy the weights of ``path`` into ``model``, whose devices and dtypes stay.

    Every key must be there, with its shape, and no other. What the model knows by itself is not missed: the other
    names of a tied parameter, and the batch counters that batch norms gained after their first releases; nor is it
    unexpected: a constant buffer that older versions of a model saved and that has the model's own value.
    Floating-point dtypes of 16 bits and more are converted into each other.

    Raises:
        CheckpointError: the file cannot be read safely, or does not match; ``model`` is then unchanged.
    """
    origin = repr(str(path))
    own: dict[str, Tensor] = model.state_dict()
    prefix = wrapper_prefix(own)
    state = {prefix + key: tensor for key, tensor in read_state_dict(path).items()}
    _drop_constant_buffers(model, own, state)
    _fill_in(model, own, state, origin)
    _require_same_keys_and_shapes(model, own, state, origin)
    _require_convertible(own, state, origin)
    converted = {key: tensor.to(own[key].dtype) for key, tensor in state.items()}
    # Infinities are legitimate where the model's own constructor puts them, as in an attention mask.
    changed = {key: tensor for key, tensor in converted.items() if not _same(tensor, own[key])}
    require_finite(changed, origin)
    # Some modules ask for the version of the layout that a state dict has; here it is the model's own.
    versioned = OrderedDict(converted)
    versioned._metadata = own._metadata  # type: ignore[attr-defined]
    model.load_state_dict(versioned)


def _drop_constant_buffers(model: nn.Module, own: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    for key, buffer in model.named_buffers(remove_duplicate=False):
        if key in state and key not in own and _same(state[key], buffer):
            del state[key]


def _fill_in(model: nn.Module, own: dict[str, Tensor], state: dict[str, Tensor], origin: str) -> None:
    for name, module in model.named_modules(remove_duplicate=False):
        counter = f"{name}.num_batches_tracked".lstrip(".")
        if isinstance(module, _NormBase) and counter in own:
            state.setdefault(counter, own[counter])
    tied: defaultdict[int, list[str]] = defaultdict(list)
    for key, tensor in model.state_dict(keep_vars=True).items():
        tied[id(tensor)].append(key)
    for keys in tied.values():
        present = [key for key in keys if key in state]
        if any(not _same(state[present[0]], state[key]) for key in present[1:]):
            raise CheckpointError(
                expected=f"one value for the tied names {', '.join(keys)}",
                found=f"{origin} with several",
                remedy="untie them in the model, or use a checkpoint of the tied model",
            )
        state.update({key: state[present[0]] for key in keys if present})


def _require_same_keys_and_shapes(
    model: nn.Module, own: dict[str, Tensor], state: dict[str, Tensor], origin: str
) -> None:
    differences = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "of another shape": [
            f"{key} {list(state[key].shape)} for {list(tensor.shape)}"
            for key, tensor in own.items()
            if key in state and state[key].shape != tensor.shape
        ],
    }
    if any(differences.values()):
        raise CheckpointError(
            expected=f"the {len(own)} tensors of {type(model).__name__}",
            found=f"{origin} with {count_and_name(differences)}",
            remedy="build the model with the options the checkpoint was trained with",
        )


def _require_convertible(own: dict[str, Tensor], state: dict[str, Tensor], origin: str) -> None:
    refused = [f"{key}: {state[key].dtype}" for key in own if not _is_convertible(state[key], own[key])]
    if refused:
        raise CheckpointError(
            expected="plain weights in the model's own kind of number",
            found=f"{origin} with {count_and_name({'quantised, packed or of another kind': refused})}",
            remedy="use the checkpoint from before it was quantised",
        )


def _is_convertible(source: Tensor, target: Tensor) -> bool:
    if source.layout is not torch.strided or source.is_meta:
        return False
    both_float = source.is_floating_point() and target.is_floating_point() and source.dtype.itemsize > 1
    return both_float or source.dtype == target.dtype


def _same(a: Tensor, b: Tensor) -> bool:
    plain = a.layout is b.layout is torch.strided and not (a.is_meta or b.is_meta)
    return plain and a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.cpu(), b.cpu())
