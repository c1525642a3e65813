"""Where the state dict lies inside what a training script saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from torch import Tensor

from rewriter.checkpoints.listing import count_and_name
from rewriter.checkpoints.stored import Assembled, HeldTensor, Region
from rewriter.errors import CheckpointError

# In order of preference: the trained weights come before their moving average.
_WRAPPERS: Final = (
    "state_dict",
    "model",
    "model_state",
    "model_state_dict",
    "module",
    "ema",
    "ema_state_dict",
    "state_dict_ema",
)
_PREFIXES: Final = ("module.", "_orig_mod.")
_TENSORS: Final = (Tensor, HeldTensor, Region, Assembled)


def extract_state_dict(content: object, origin: str) -> dict[str, Any]:
    """Return the dict of tensors inside ``content``, without the prefixes that wrappers of the model added.

    See `state_dict_in` for arguments and errors.
    """
    state = state_dict_in(content, origin)
    prefix = len(wrapper_prefix(state))
    return {key[prefix:]: tensor for key, tensor in state.items()}


def state_dict_in(content: object, origin: str) -> dict[str, Any]:
    """Return the dict of tensors inside ``content``.

    A dict under one of the usual keys (``state_dict``, ``model``, …) is entered, repeatedly. Where both the model and
    its moving average (``ema``) were saved, the model is taken.

    Args:
        content: what the file held: tensors, or a `Stored` in the place of each.
        origin: the file, for messages.

    Raises:
        CheckpointError: there is no dict of tensors, or it holds other things beside its tensors (they are named).
    """
    state = _enter_wrappers(content)
    if not isinstance(state, Mapping) or not state:
        found = "an empty dict" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise _not_a_state_dict(f"{origin} with {found}")
    others = [f"{key}: {type(value).__name__}" for key, value in state.items() if not isinstance(value, _TENSORS)]
    others += [f"{key!r} as a key" for key in state if not isinstance(key, str)]
    if others:
        raise _not_a_state_dict(f"{origin} with {count_and_name({'entries that are not named tensors': others})}")
    return dict(state)


def wrapper_prefix(keys: Iterable[str]) -> str:
    """Return the prefix of ``DataParallel`` and ``torch.compile`` wrappers that all ``keys`` carry, maybe several."""
    names = list(keys)
    prefix = ""
    while names and (longer := next((prefix + part for part in _PREFIXES if _all_start(names, prefix + part)), "")):
        prefix = longer
    return prefix


def _all_start(names: list[str], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in names)


def _enter_wrappers(content: Any) -> Any:
    entered: set[int] = set()
    while isinstance(content, Mapping) and id(content) not in entered:  # a pickle may contain itself
        entered.add(id(content))
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
    return content


def _not_a_state_dict(found: str) -> CheckpointError:
    return CheckpointError(
        expected=f"a dict of tensors, bare or under one of {', '.join(_WRAPPERS)}",
        found=found,
        remedy="save model.state_dict() alone",
    )
