"""Sites with activations of every kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from torch import nn

import rewriter
from rewriter.sites import Site
from rewriter.tracing.spellings import Activation


@pytest.fixture
def site_with() -> Callable[..., Site]:
    """Make the site of an MLP whose activation is a given one: its name or formula, and its parameters."""
    (site,) = rewriter.capture(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))).sites
    return lambda name, **parameters: replace(site, activation=Activation(name, parameters))
