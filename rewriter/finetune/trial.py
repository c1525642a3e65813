"""A first try of data on a model, before anything is trained."""

from __future__ import annotations

from torch import nn

from rewriter.errors import RewriterError, UsageError
from rewriter.evaluation import call, evaluating
from rewriter.finetune.examples import Examples
from rewriter.finetune.objective import cross_entropy
from rewriter.finetune.outputs import main_output
from rewriter.tracing.trace import reason


def require_fit(model: nn.Module, examples: Examples, data: str) -> None:
    """Run a model on the first two examples of some data.

    Args:
        model: what will learn from them.
        examples: the data.
        data: how the user named it.

    Raises:
        UsageError: the model does not take them, or the labels are no classes of its outputs.
    """
    batch = examples.batch(range(min(2, len(examples))))
    try:
        with evaluating(model):
            output = main_output(call(model, batch.inputs))
    except RewriterError:
        raise
    except Exception as error:  # whatever the model's own code raises for inputs that it does not take
        inputs = batch.inputs if isinstance(batch.inputs, dict) else {"input": batch.inputs}
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
        raise UsageError(
            expected="data that the model takes",
            found=f"{shapes} from {data}: {reason(error)}",
            remedy="give inputs of the shape and dtype that it was trained on",
        ) from error
    if batch.labels is not None:
        cross_entropy(output, batch.labels)
