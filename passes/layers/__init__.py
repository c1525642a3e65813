"""The modules that stay in rewritten models."""

from passes.layers.lifted import Lifted
from passes.layers.split_activation import SplitActivation
from passes.layers.split_adversarial import SplitAdversarial

__all__ = ["Lifted", "SplitActivation", "SplitAdversarial"]
