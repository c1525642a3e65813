from __future__ import annotations

import pytest
import torch

from export.trials import Trial, trials
from export.view import portable_view
from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec


def sizes(made: list[Trial]) -> list[tuple[str, int, int | None]]:
    return [(trial.origin, trial.batch_size, trial.sequence_length) for trial in made]


def test_sequences_come_at_two_lengths_and_every_batch_size(text) -> None:
    model, specs = text
    made = list(trials(portable_view(model, specs), specs, (1, 2)))
    assert sizes(made) == [("random", batch, length) for length in (12, 8) for batch in (1, 2)]


def test_the_same_trials_are_made_each_time(text) -> None:
    model, specs = text
    view = portable_view(model, specs)
    first, second = (list(trials(view, specs, (1, 3))) for _ in range(2))
    assert len(first) == len(second) == 4
    for one, other in zip(first, second, strict=True):
        assert all(map(torch.equal, one.inputs, other.inputs))


def test_real_inputs_are_cut_to_the_batch_sizes_that_they_have_and_the_last_is_whole(small) -> None:
    model, specs = small
    view = portable_view(model, specs)
    real = [torch.arange(24.0).reshape(3, 8), torch.ones(2, 8)]
    made = [trial for trial in trials(view, specs, (1, 2, 7), real) if trial.origin == "real"]
    assert [trial.inputs[0].tolist() for trial in made] == [
        real[0][:1].tolist(),
        real[0][:2].tolist(),
        real[0].tolist(),
        real[1].tolist(),
    ]


@pytest.mark.parametrize("batch", [torch.ones(4, 8), (torch.ones(4, 8),), {"input": torch.ones(4, 8), "label": 3}])
def test_real_inputs_come_as_the_calibration_of_a_rewrite_does(small, batch: object) -> None:
    model, specs = small
    made = list(trials(portable_view(model.half(), specs), specs, (4,), [batch]))
    assert sizes(made) == [("random", 4, None), ("real", 4, None)]
    assert made[1].inputs[0].dtype == torch.float16


def test_real_sequences_may_have_any_length(text) -> None:
    model, specs = text
    batch = {name: torch.ones(2, 5, dtype=torch.int64) for name in ("attention_mask", "input_ids", "token_type_ids")}
    assert sizes(list(trials(portable_view(model, specs), specs, (2,), [batch])))[-1] == ("real", 2, 5)


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (torch.ones(4, 9), r"found \[9\]"),
        (torch.ones(4, 8, 1), r"found \[8, 1\]"),
        ({"pixels": torch.ones(4, 8)}, r"found pixels\[8\]"),
        ((torch.ones(4, 8), torch.ones(4, 8)), "found tuple"),
        ("text", "found str"),
    ],
)
def test_real_inputs_that_do_not_fit_are_a_usage_error(small, batch: object, found: str) -> None:
    model, specs = small
    with pytest.raises(UsageError, match=r"expected real inputs input\[8\] per example; " + found):
        list(trials(portable_view(model, specs), specs, (1,), [batch]))


def test_images_come_in_a_second_size_where_it_may_vary() -> None:
    specs = [InputSpec(name="input", shape=(3, 64, 48))]
    view = portable_view(torch.nn.AdaptiveAvgPool2d(1), specs)
    assert [trial.image_size for trial in trials(view, specs, (1,))] == [(64, 48)]
    first, second, real = trials(view, specs, (1,), [torch.ones(1, 3, 70, 70)], dynamic_size=True)
    assert first.image_size == (64, 48) != second.image_size
    assert real.image_size == (70, 70)
    with pytest.raises(UsageError, match=r"expected real inputs input\[3, 64, 48\]"):
        list(trials(view, specs, (1,), [torch.ones(1, 3, 70, 70)]))
