"""Why some activations are out of scope: they are no hidden values that a layer feeds, so no method replaces them.

Other reasons for a miss are limits of the rewriter. The page docs/why-not.md explains both, in the words of this list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class OutOfScope:
    """A reason that no method overcomes.

    Attributes:
        reason: how the reason of a miss begins.
        meaning: what was found.
        why: why it is not rewritten.
        remedy: what a user can do.
    """

    reason: str
    meaning: str
    why: str
    remedy: str

    def because(self, detail: str) -> str:
        """Give the reason with a detail behind it; without one when ``detail`` is empty."""
        return f"{self.reason}: {detail}" if detail else self.reason


GATE: Final = OutOfScope(
    "its output gates another value",
    "The output is multiplied with a value that is not computed from it, as in squeeze-and-excite, gated linear units "
    "that are no gated MLP, and state-space blocks.",
    "A gate is a factor: its range, often 0 to 1, decides how much of the other value passes. The methods are about "
    "hidden units and their slopes, and the papers leave gates alone.",
    "Nothing is needed. A gated MLP (SwiGLU, GEGLU and their kin) is a site of its own for hdfgd and sa.",
)
OUTPUT: Final = OutOfScope(
    "it is the model's output, not a hidden value",
    "The output of the activation leaves the model, at most in another shape.",
    "Another function would change what the outputs mean: a probability would be none any more.",
    "If the model is one part of a larger one, rewrite the whole.",
)
SCORE: Final = OutOfScope(
    "its output is an attention score, which a softmax reads",
    "Between the activation and a softmax there is no layer, only sums, scales and changes of shape.",
    "It bounds a score on purpose; a softmax takes the exponential of it.",
    "Nothing is needed.",
)
UNFED: Final = OutOfScope(
    "it follows an activation, with no layer in between",
    "What enters the activation comes from another activation, through norms, pools, sums or changes of shape only.",
    "The methods place a function behind a linear, a convolution or an embedding. Here there is none to pair it with.",
    "Nothing is needed; the activation before it is a site, or has a reason of its own.",
)
PRODUCT: Final = OutOfScope(
    "it acts on a product of two values",
    "What enters the activation is a product of two values neither of which is computed from the other, such as two "
    "branches, or a linear attention.",
    "No single layer feeds it, so there is no pre-activation whose slope a method could balance.",
    "Nothing is needed. Squeeze-and-excite and softmax attention are looked through.",
)
PARAMETER: Final = OutOfScope(
    "it acts on a parameter of its own",
    "What enters the activation is a parameter or buffer, such as the logarithm of a scale or a mixing coefficient.",
    "It keeps the coefficient in a range; nothing that depends on the model's inputs passes through it.",
    "Nothing is needed.",
)
QUANTISED: Final = OutOfScope(
    "its layer is quantised",
    "A layer with quantised, packed or fake-quantised weights feeds the activation, or has it fused in.",
    "There is no float weight to move, and the new function would need ranges that were never observed.",
    "Rewrite the float model, fine-tune it, then quantise it.",
)
RECURRENT: Final = OutOfScope(
    "its activations are inside torch's recurrent kernel: out of scope",
    "nn.LSTM, nn.GRU, nn.RNN and their cells compute their activations in one fused kernel.",
    "They are gates and state updates, and the kernel takes no other function.",
    "Write the cell with linears and activations if you want its hidden activation rewritten.",
)
SOFTMAX: Final = OutOfScope(
    "softmax normalises over several values: out of scope",
    "A softmax module, or the one inside nn.MultiheadAttention.",
    "The methods are about functions of one variable.",
    "Nothing is needed.",
)

OUT_OF_SCOPE: Final = (GATE, OUTPUT, SCORE, UNFED, PRODUCT, PARAMETER, QUANTISED, RECURRENT, SOFTMAX)


def out_of_scope(reason: str) -> OutOfScope | None:
    """Give the entry that the reason of a miss belongs to, or None for a limit of the rewriter."""
    return next((entry for entry in OUT_OF_SCOPE if reason.startswith(entry.reason)), None)
