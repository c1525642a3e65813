"""The loss: against labels, against the teacher's outputs, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from rewriter.errors import UsageError


@dataclass(frozen=True)
class Objective:
    """What fine-tuning makes small.

    Attributes:
        distill: share of the teacher, from 0 to 1.
        temperature: that softens logits before they are compared.
        classes: whether the outputs are logits of classes; else they are features, compared by their distance.
        across: gives the mean of a tensor over all processes, without a gradient.
    """

    distill: float
    temperature: float
    classes: bool
    across: Callable[[Tensor], Tensor] = field(default=lambda tensor: tensor.detach())

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return the loss of this process' share of a batch; its mean over the processes is that of the whole batch.

        Args:
            student: logits ``[N, …, C]`` or features of any shape.
            teacher: the same of the teacher; None where ``distill`` is 0.
            labels: int64 ``[N]`` or ``[N, …]``; None where ``distill`` is 1.
            mask: ``[N, …]``, 0 where the outputs mean nothing, such as padding; None for no such place.
        """
        loss = student.new_zeros(())
        if labels is not None and self.distill < 1:
            loss = loss + (1 - self.distill) * cross_entropy(student, labels)
        if teacher is not None and self.distill > 0:
            distance = self._divergence(student, teacher) if self.classes else self._distance(student, teacher, mask)
            loss = loss + self.distill * self._mean(distance, mask)
        return loss

    def _distance(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
        """Return the squared distance at each place over the teacher's mean square, plus one minus the cosine."""
        scale = self.across(self._mean(teacher.square().mean(-1), mask)).clamp_min(torch.finfo(teacher.dtype).tiny)
        return (student - teacher).square().mean(-1) / scale + 1 - F.cosine_similarity(student, teacher, dim=-1)

    def _mean(self, values: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None or mask.shape != values.shape:
            return values.mean()
        kept = mask.to(values.dtype)  # texts of other processes may be longer
        return (values * kept).sum() / self.across(kept.sum()).clamp_min(torch.finfo(values.dtype).tiny)

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the divergence from the softened teacher at each place (Hinton et al. 2015)."""
        ours = F.log_softmax(student / self.temperature, dim=-1)
        theirs = F.log_softmax(teacher / self.temperature, dim=-1)
        return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1) * self.temperature**2


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats.

    Raises:
        UsageError: the labels are no classes of these logits.
    """
    if logits.shape[:-1] != labels.shape or labels.is_floating_point():
        raise UsageError(
            expected=f"one class for each of the outputs {list(logits.shape[:-1])}",
            found=f"labels {list(labels.shape)} of {labels.dtype}",
            remedy="leave the labels out of the data to learn from the teacher alone",
        )
    if int(labels.max()) >= logits.shape[-1] or int(labels.min()) < 0:
        raise UsageError(
            expected=f"labels from 0 to {logits.shape[-1] - 1}",
            found=f"{int(labels.min())} to {int(labels.max())}",
            remedy="use the data that the model was trained for",
        )
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten())
