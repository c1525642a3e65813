"""Hidden widths: how many units a rewritten chain of MLPs may have within its parameter budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.recipe.options import RewriteOptions

PAPER_PARALLEL_MATRICES = 4


@dataclass(frozen=True)
class Feed:
    """A layer that makes the values of one hidden layer.

    Attributes:
        before: how many values it makes for each hidden unit: 1, or 2 when it packs both factors of a gate.
        after: the same after the rewrite.
        bias: whether it has a bias.
        taps: how many weights it has between one input and one output: its kernel size.
    """

    before: int
    after: int
    bias: bool
    taps: int = 1


@dataclass(frozen=True)
class Inner:
    """The layers between the ends of one MLP, which share its hidden width.

    Attributes:
        before: how many parameters they have for each hidden unit.
        after: the same after the rewrite, when those ahead of the activation hold every branch.
        square: how many they have for each pair of hidden units.
        divisor: what must divide the hidden width after the rewrite.
    """

    before: int = 0
    after: int = 0
    square: int = 0
    divisor: int = 1


@dataclass(frozen=True)
class Chain:
    """The shape of a chain of MLPs; a single MLP is a chain with one hidden layer.

    Attributes:
        fan_in: input width of the first layer.
        hidden: hidden widths, one for each site.
        feeds: for each site, the layers that make its values: one, or two for a gate in two layers.
        fan_out: output width of the last layer.
        freed: parameters of the activations that go away.
        coefficients: parameters of the functions that come.
        last_taps: kernel size of the last layer.
        inner: for each site, the layers between; empty when there are none.
        copies: how many such chains share the functions: the number of experts.
    """

    fan_in: int
    hidden: tuple[int, ...]
    feeds: tuple[tuple[Feed, ...], ...]
    fan_out: int
    freed: int
    coefficients: int
    last_taps: int = 1
    inner: tuple[Inner, ...] = ()
    copies: int = 1

    def fits(self, hidden: Sequence[int]) -> bool:
        """Say whether the rewritten chain has no more parameters than the original one."""
        before = self._weights(self.hidden, [[feed.before for feed in feeds] for feeds in self.feeds]) + self.freed
        after = self._weights(hidden, [[feed.after for feed in feeds] for feeds in self.feeds]) + self.coefficients
        before += sum(i.before * units + i.square * units**2 for i, units in zip(self.inner, self.hidden, strict=False))
        after += sum(i.after * units + i.square * units**2 for i, units in zip(self.inner, hidden, strict=False))
        return after <= before

    @property
    def divisors(self) -> tuple[int, ...]:
        """What must divide each hidden width."""
        return tuple(i.divisor for i in self.inner) or (1,) * len(self.hidden)

    def _weights(self, hidden: Sequence[int], values: Sequence[Sequence[int]]) -> int:
        """Count weights and biases; the output bias, which never changes, is left out."""
        total, width = 0, self.fan_in
        for units, feeds, counts in zip(hidden, self.feeds, values, strict=True):
            total += sum(n * units * (width * feed.taps + feed.bias) for feed, n in zip(feeds, counts, strict=True))
            width = units
        return self.copies * (total + width * self.last_taps * self.fan_out)


def hidden_widths(chain: Chain, options: RewriteOptions) -> tuple[int, ...] | None:
    """Choose the hidden widths of a rewritten chain.

    ``match`` scales all hidden layers by one factor, the largest whose parameters, biases and trainable coefficients
    included, fit the budget; for a single MLP that is formula 23 of the paper with biases counted (the method,
    section 2). ``paper`` divides by four, ``keep`` keeps, a number sets every hidden width.

    Returns:
        The widths, or None when not even one unit a layer fits, or a width asked for is no multiple of the groups.
    """
    if options.width == "keep":
        return chain.hidden
    if isinstance(options.width, int):
        asked = tuple(options.width for _ in chain.hidden)
        return None if any(width % divisor for width, divisor in zip(asked, chain.divisors, strict=True)) else asked
    if options.width == "paper":
        widths = _rounded([units // PAPER_PARALLEL_MATRICES for units in chain.hidden], chain, options)
        return widths if min(widths) > 0 and chain.fits(widths) else None
    widest = max(chain.hidden)
    low, high = 0, widest
    while low < high:
        middle = (low + high + 1) // 2
        if chain.fits([units * middle // widest for units in chain.hidden]):
            low = middle
        else:
            high = middle - 1
    widths = _rounded([units * low // widest for units in chain.hidden], chain, options)
    return widths if min(widths) > 0 else None


def why_no_width(chain: Chain, options: RewriteOptions, branches: int) -> str:
    """Give the reason for which `hidden_widths` found none."""
    if isinstance(options.width, int):
        return f"{options.width} hidden units do not divide into the {max(chain.divisors)} groups of its norm"
    least = max(math.lcm(options.multiple, divisor) for divisor in chain.divisors)
    return f"the budget leaves fewer than {least} hidden units for {branches} branches"


def _rounded(widths: Sequence[int], chain: Chain, options: RewriteOptions) -> tuple[int, ...]:
    multiples = [math.lcm(options.multiple, divisor) for divisor in chain.divisors]
    return tuple(units // multiple * multiple for units, multiple in zip(widths, multiples, strict=True))
