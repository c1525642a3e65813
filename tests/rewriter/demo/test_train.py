"""Training and measuring: what ``fit`` and ``accuracy`` promise to their callers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score
from torch import nn

from rewriter.demo.digits import Digits, load_split
from rewriter.demo.model import DigitsViT
from rewriter.demo.train import accuracy, fit


@pytest.fixture(scope="module")
def few():
    train = load_split().train
    return Digits(train.images[:100], train.labels[:100])


def small_vit():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DigitsViT(width=16, depth=2)


def train_briefly(model, data, *, seed=0, epochs=2, on_step=None):
    return fit(model, data, epochs=epochs, lr=5e-3, weight_decay=0.05, seed=seed, batch_size=32, on_step=on_step)


def trained_weights(data, seed):
    model = small_vit()
    train_briefly(model, data, seed=seed)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_fitting_lowers_the_loss(few):
    losses = fit(small_vit(), few, epochs=20, lr=1e-2, weight_decay=0.05, seed=0, batch_size=16)
    assert losses[-1] < 0.8 * losses[0]


def test_the_same_seed_gives_the_same_weights(few):
    first = trained_weights(few, seed=3)
    torch.rand(5)
    assert torch.equal(first, trained_weights(few, seed=3))


def test_another_seed_gives_other_weights(few):
    assert not torch.equal(trained_weights(few, seed=3), trained_weights(few, seed=4))


def test_fitting_leaves_the_callers_random_state_alone(few):
    before = torch.get_rng_state()
    train_briefly(small_vit(), few)
    assert torch.equal(before, torch.get_rng_state())


def test_fitting_trains_in_train_mode_and_ends_in_eval_mode(few):
    model = small_vit()
    modes = []
    model.norm.register_forward_hook(lambda module, *_: modes.append(module.training))
    train_briefly(model, few)
    assert set(modes) == {True}
    assert not any(module.training for module in model.modules())


def test_every_step_is_reported_with_the_number_of_steps(few):
    calls = []
    train_briefly(small_vit(), few, epochs=2, on_step=lambda *call: calls.append(call))
    assert [(done, steps) for done, steps, _ in calls] == [(done, 8) for done in range(1, 9)]
    assert all(loss > 0 for *_, loss in calls)


def test_a_frozen_parameter_stays_as_it_is(few):
    model = small_vit()
    model.position.requires_grad_(False)
    before = model.position.clone()
    train_briefly(model, few)
    assert torch.equal(before, model.position)


class IdleParameters(nn.Module):
    """A linear classifier with a matrix and a vector whose gradients are zero, so that only decay moves them."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.matrix, self.vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))

    def forward(self, images):
        return self.head(images.flatten(1)) + 0 * (self.matrix.sum() + self.vector.sum())


def test_weight_decay_acts_on_matrices_and_not_on_vectors(few):
    model = IdleParameters()
    train_briefly(model, few)
    assert (model.matrix < 1).all()
    assert (model.vector == 1).all()


class Recorder(nn.Module):
    """A linear classifier that keeps the images it is given."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return self.head(images.flatten(1))


def test_training_images_are_changed_a_little_and_stay_in_range(few):
    model = Recorder()
    fit(model, few, epochs=1, lr=1e-3, weight_decay=0.0, seed=0, batch_size=100)
    (seen,) = model.seen
    distance = torch.cdist(seen.flatten(1), few.images.flatten(1)).amin(dim=1)
    assert (distance > 0).all()
    assert distance.mean() < 0.5 * torch.cdist(few.images.flatten(1), few.images.flatten(1)).mean()
    tolerance = 1e-5
    assert seen.min() >= few.images.min() - tolerance
    assert seen.max() <= few.images.max() + tolerance


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_accuracy_agrees_with_scikit_learn(pairs):
    predicted, truth = (torch.tensor(column) for column in zip(*pairs, strict=True))
    logits = nn.functional.one_hot(predicted, 10).float()
    assert accuracy(nn.Identity(), Digits(logits, truth)) == pytest.approx(accuracy_score(truth, predicted), abs=1e-12)


def test_accuracy_is_measured_without_dropout(few):
    model = DigitsViT(width=16, depth=1, dropout=0.9).train()
    assert accuracy(model, few) == accuracy(model.train(), few)
    assert not model.training
