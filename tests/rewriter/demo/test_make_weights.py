"""The script behind the bundled weights."""

import json

import safetensors.torch
import torch

from rewriter.demo import make_weights
from rewriter.demo.digits import Digits, DigitsSplit, load_split
from rewriter.demo.make_weights import make
from rewriter.demo.model import WEIGHTS_FILE, DigitsViT
from rewriter.demo.train import accuracy


def test_the_card_tells_the_accuracy_of_the_weights_beside_it(tmp_path):
    card = make(tmp_path, epochs=1)
    model = DigitsViT()
    model.load_state_dict(safetensors.torch.load_file(tmp_path / WEIGHTS_FILE))
    assert json.loads((tmp_path / "digits_vit.json").read_text()) == card
    assert card["test_accuracy"] == accuracy(model, load_split().test)


def test_neither_the_test_images_nor_the_random_state_change_the_weights(tmp_path, monkeypatch):
    make(tmp_path, epochs=1)
    first = (tmp_path / WEIGHTS_FILE).read_bytes()
    train, test = load_split()
    blank = Digits(torch.zeros_like(test.images), torch.zeros_like(test.labels))
    monkeypatch.setattr(make_weights, "load_split", lambda: DigitsSplit(train, blank))
    torch.manual_seed(1234)
    make(tmp_path, epochs=1)
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == first
