"""Policies and value networks of stable-baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.dqn.policies import CnnPolicy, DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from benchmarks.libraries.library_model import LibraryModel

_STATE: Final = spaces.Box(-np.ones(8, np.float32), np.ones(8, np.float32))
_FRAMES: Final = spaces.Box(0, 255, (3, 64, 64), np.uint8)
_ACTIONS: Final = spaces.Discrete(4)
_CONTROLS: Final = spaces.Box(-np.ones(2, np.float32), np.ones(2, np.float32))


def _policy(kind: type[nn.Module], observations: spaces.Space[Any], actions: spaces.Space[Any]) -> Any:
    return kind(observations, actions, lambda _: 1e-3)


def _states() -> dict[str, Tensor]:
    return {"obs": torch.randn(4, 8)}


def _frames() -> dict[str, Tensor]:
    return {"obs": torch.randint(0, 256, (2, 3, 64, 64)).to(torch.uint8)}


def _both() -> dict[str, Any]:
    return {"obs": {"state": _states()["obs"][:2], "frames": _frames()["obs"]}}


MODELS: Final[Mapping[str, LibraryModel]] = {
    "PPO_MlpPolicy": LibraryModel(
        lambda: _policy(ActorCriticPolicy, _STATE, _ACTIONS), _states, 4, "two hidden layers each of actor and critic"
    ),
    "PPO_MlpPolicy_continuous": LibraryModel(
        lambda: _policy(ActorCriticPolicy, _STATE, _CONTROLS), _states, 4, "two hidden layers each of actor and critic"
    ),
    "PPO_CnnPolicy": LibraryModel(
        lambda: _policy(ActorCriticCnnPolicy, _FRAMES, _ACTIONS),
        _frames,
        3,
        "the last convolution reaches its linear through a flatten; two heads read what that makes",
    ),
    "PPO_MultiInputPolicy": LibraryModel(
        lambda: _policy(MultiInputActorCriticPolicy, spaces.Dict({"state": _STATE, "frames": _FRAMES}), _ACTIONS),
        _both,
        7,
        "what the linear behind the convolutions makes is joined with the state",
    ),
    "SAC_actor": LibraryModel(
        lambda: _policy(SACPolicy, _STATE, _CONTROLS).actor, _states, 1, "two heads read the second hidden layer"
    ),
    "SAC_critic": LibraryModel(
        lambda: _policy(SACPolicy, _STATE, _CONTROLS).critic,
        lambda: _states() | {"actions": torch.rand(4, 2)},
        4,
        "two critics of two hidden layers",
    ),
    "TD3_actor": LibraryModel(
        lambda: _policy(TD3Policy, _STATE, _CONTROLS).actor, _states, 2, "its last activation is the output"
    ),
    "DQN_q_net": LibraryModel(lambda: _policy(DQNPolicy, _STATE, _ACTIONS).q_net, _states, 2),
    "DQN_CnnPolicy_q_net": LibraryModel(
        lambda: _policy(CnnPolicy, _FRAMES, _ACTIONS).q_net,
        _frames,
        4,
        "the last convolution reaches its linear through a flatten",
    ),
}
