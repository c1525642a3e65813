from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rewriter
from passes.penalty import adversarial_parameters
from rewriter.errors import UsageError
from rewriter.finetune.budget import Budget
from rewriter.finetune.objective import Objective, cross_entropy
from rewriter.finetune.optimization import make_optimizer
from rewriter.finetune.outputs import main_output
from rewriter.finetune.settings import FinetuneSettings, default_optimizer

SETTINGS = {
    "steps": 100,
    "seconds": None,
    "batch_size": 8,
    "optimizer": "sgd",
    "lr": 0.1,
    "weight_decay": 0.01,
    "anneal_steps": None,
    "penalty": 0.5,
    "distill": 0.5,
    "temperature": 2.0,
    "augment": [],
    "precision": "no",
    "seed": 0,
}


def settings(**changed: object) -> FinetuneSettings:
    return FinetuneSettings.model_validate({**SETTINGS, **changed})


def test_the_loss_is_a_mean_of_labels_and_teacher_by_share() -> None:
    student, teacher, labels = torch.randn(6, 4), torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    hard = nn.functional.cross_entropy(student, labels)
    soft = nn.KLDivLoss(reduction="batchmean")((student / 3).log_softmax(-1), (teacher / 3).softmax(-1)) * 9
    for share in (0.0, 0.25, 1.0):
        loss = Objective(share, 3.0, classes=True)(student, teacher, labels, None)
        torch.testing.assert_close(loss, (1 - share) * hard + share * soft)


def test_features_are_compared_where_they_mean_something() -> None:
    teacher, student = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    student[0, :3], student[1] = teacher[0, :3], teacher[1]
    objective = Objective(1.0, 2.0, classes=False)
    torch.testing.assert_close(objective(student, teacher, None, mask), torch.tensor(0.0), rtol=0, atol=1e-6)
    assert objective(student, teacher, None, None) > 0.1


@pytest.mark.parametrize("classes", [True, False])
def test_the_losses_of_processes_with_padding_of_their_own_have_the_mean_and_gradient_of_the_whole_batch(
    classes: bool,
) -> None:
    lengths = torch.tensor([2, 7, 3, 4])
    mask = torch.arange(7) < lengths[:, None]
    teacher, student = torch.randn(4, 7, 5), torch.randn(4, 7, 5, requires_grad=True)
    whole = Objective(1.0, 2.0, classes=classes)(student, teacher, None, mask)
    (expected,) = torch.autograd.grad(whole, student)

    shares, told = [slice(0, 4, 2), slice(1, 4, 2)], list[list[Tensor]]()

    def loss_of(process: int) -> Tensor:
        asked = iter(range(9))

        def across(tensor: Tensor) -> Tensor:
            number = next(asked)
            told.extend([] for _ in range(number + 1 - len(told)))
            told[number][process:] = [tensor.detach(), *told[number][process + 1 :]]
            return torch.stack(told[number]).mean(0)

        rows, length = shares[process], int(lengths[shares[process]].max())  # a process pads to its own longest text
        places = (rows, slice(0, length))
        return Objective(1.0, 2.0, classes, across)(student[places], teacher[places], None, mask[places])

    for _ in range(3):  # until each knows what the other tells
        losses = [loss_of(0), loss_of(1)]
    torch.testing.assert_close(sum(losses) / 2, whole)
    torch.testing.assert_close(torch.autograd.grad(sum(losses) / 2, student)[0], expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 4]), "labels from 0 to 3"),
        (torch.tensor([-1, 0]), "found -1 to 0"),
        (torch.tensor([[0], [1]]), "one class for each"),
        (torch.tensor([0, 1, 2]), "one class for each"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cross_entropy(torch.zeros(2, 4), labels)


def test_the_output_that_counts_is_found() -> None:
    logits, hidden, tokens = torch.zeros(2), torch.ones(3), torch.tensor([1])
    assert main_output({"hidden": hidden, "logits": logits}) is logits
    assert main_output((tokens, [hidden], logits)) is hidden
    with pytest.raises(UsageError, match="floating-point tensor"):
        main_output({"tokens": tokens})


def test_the_rate_rises_and_falls_to_nothing_and_the_anneal_ends_at_two_fifths() -> None:
    budget = Budget(settings())
    rates = [budget.rate(budget.progress(step, 0.0)) for step in range(101)]
    assert max(rates) == pytest.approx(0.1, rel=0.02)
    assert rates.index(max(rates)) == 5
    assert 0 < rates[0] < 0.01
    assert rates[100] == pytest.approx(0, abs=1e-12)
    weights = [budget.anneal_weight(step, budget.progress(step, 0.0)) for step in range(101)]
    assert weights[0] == 0
    assert weights[39] < 1 == weights[40]
    assert [Budget(settings(anneal_steps=4)).anneal_weight(step, 0.0) for step in range(6)] == [
        0,
        0.25,
        0.5,
        0.75,
        1,
        1,
    ]
    assert Budget(settings(anneal_steps=0)).anneal_weight(0, 0.0) == 1


def test_whichever_of_steps_and_time_comes_first_ends_it() -> None:
    both = Budget(settings(seconds=60.0))
    assert both.progress(10, 30.0) == 0.5
    assert both.progress(100, 1.0) == both.progress(1, 60.0) == 1
    assert Budget(settings(steps=None, seconds=60.0)).progress(10**6, 15.0) == 0.25


def test_branches_matrices_and_vectors_have_decays_of_their_own() -> None:
    blocks = [nn.Sequential(nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 6)) for _ in range(2)]
    result = rewriter.rewrite(nn.Sequential(*blocks), "sa")
    penalised = adversarial_parameters(result.model, result.recipe)
    assert penalised
    optimizer = make_optimizer(result.model, settings(), penalised)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    special = {id(parameter) for parameter in penalised}
    assert len(decays) == len(list(result.model.parameters()))
    for parameter in result.model.parameters():
        expected = 0.5 if id(parameter) in special else 0.01 if parameter.ndim >= 2 else 0.0
        assert decays[id(parameter)] == expected


def test_models_with_batch_norms_are_trained_with_sgd() -> None:
    assert default_optimizer(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))) == "sgd"
    assert default_optimizer(nn.Sequential(nn.Linear(1, 1), nn.LayerNorm(1))) == "adamw"
