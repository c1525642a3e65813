"""The state of an unfinished fine-tuning on disk: written whole or not at all, and read back to go on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, JsonValue
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from rewriter.errors import UsageError
from rewriter.finetune.log import LogRow

_WEIGHTS, _MOMENTS, _POSITION = "model.safetensors", "optimizer.safetensors", "position.json"
_PREFIX = "step-"
_BETWEEN = "\n"  # no name of a parameter has it
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Position(BaseModel):
    """Where a fine-tuning stands.

    Attributes:
        run: everything its outcome depends on; another run does not go on from here.
        step: number of steps done.
        elapsed: seconds of training.
        rows: of the log so far.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: dict[str, JsonValue]
    step: int
    elapsed: float
    rows: tuple[LogRow, ...]


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a model, plain, wrapped or sharded, on the CPU; every process calls it.

    Returns:
        The tensors under the names of the plain model; none on all but the main process.
    """
    weights: Any = get_model_state_dict(model, options=_WHOLE)
    return dict(weights)


def save_state(
    folder: Path, position: Position, model: nn.Module, optimizer: torch.optim.Optimizer, *, main: bool
) -> None:
    """Write the state; every process calls it, and the main one writes.

    Args:
        folder: of all states of this fine-tuning; only the newest is kept.
        position: where it stands.
        model: plain, or wrapped for distributed data parallelism or sharding.
        optimizer: of its parameters.
        main: whether this is the main process.
    """
    weights = whole_weights(model)
    moments: Any = get_optimizer_state_dict(model, optimizer, options=_WHOLE)
    if not main:  # which alone has got them
        return
    name = f"{_PREFIX}{position.step:09d}"
    new = folder / f".{name}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_file(_plain(weights), new / _WEIGHTS)
    flat = {f"{path}{_BETWEEN}{key}": value for path, own in moments["state"].items() for key, value in own.items()}
    save_file(_plain({key: value for key, value in flat.items() if isinstance(value, Tensor)}), new / _MOMENTS)
    (new / _POSITION).write_text(position.model_dump_json(), encoding="utf-8")
    shutil.rmtree(folder / name, ignore_errors=True)
    os.rename(new, folder / name)
    for old in _states(folder):
        if old.name != name:
            shutil.rmtree(old)


def read_position(folder: Path, run: Mapping[str, JsonValue]) -> Position | None:
    """Return where an unfinished fine-tuning of a folder stands; None where there is none.

    Raises:
        UsageError: it is unreadable, or was another run.
    """
    states = _states(folder)
    if not states:
        return None
    try:
        position = Position.model_validate_json((states[-1] / _POSITION).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            expected=f"the state of an unfinished fine-tuning in {states[-1]}",
            found=str(error).splitlines()[0],
            remedy=f"remove {folder} to begin again",
        ) from error
    differing = [key for key in {**run, **position.run} if run.get(key) != position.run.get(key)]
    if differing:
        key = sorted(differing)[0]
        raise UsageError(
            expected=f"the unfinished fine-tuning in {folder} to go on, with {key} = {position.run.get(key)}",
            found=f"{key} = {run.get(key)}",
            remedy=f"run it as it was begun, or remove {folder} to begin again",
        )
    return position


def load_state(
    folder: Path, position: Position, model: nn.Module, optimizer: torch.optim.Optimizer, *, main: bool
) -> None:
    """Load the state at a position; every process calls it, and the main one reads.

    Raises:
        UsageError: the files are unreadable.
    """
    state = folder / f"{_PREFIX}{position.step:09d}"
    weights: dict[str, Any] = {}
    moments: dict[str, Any] = {"state": {}, "param_groups": []}
    now: Any = get_optimizer_state_dict(model, optimizer, options=_WHOLE)
    if main:
        try:
            weights, flat = dict(load_file(state / _WEIGHTS)), load_file(state / _MOMENTS)
        except (OSError, SafetensorError) as error:
            raise UsageError(
                expected=f"complete weights in {state}", found=str(error), remedy=f"remove {folder} to begin again"
            ) from error
        moments["param_groups"] = now["param_groups"]
        for key, value in flat.items():
            path, _, name = key.partition(_BETWEEN)
            moments["state"].setdefault(path, {})[name] = value
    several = torch.distributed.is_initialized()
    spread = StateDictOptions(full_state_dict=True, broadcast_from_rank0=several)
    set_model_state_dict(model, weights, options=spread)
    # Parameters that the outputs do not depend on have no moments.
    set_optimizer_state_dict(model, optimizer, moments, options=replace(spread, strict=False))


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*"))


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Copies, since tied weights share their memory, which the format refuses.
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
