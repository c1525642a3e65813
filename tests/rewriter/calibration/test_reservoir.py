import pytest
import torch

from rewriter.calibration.reservoir import Reservoir


def test_a_short_stream_is_kept_whole_and_by_value():
    reservoir, values = Reservoir(), torch.arange(6.0).reshape(2, 3)
    reservoir.add(values)
    reservoir.add(torch.tensor([9], dtype=torch.int64))
    values.zero_()
    assert reservoir.values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0]


@pytest.mark.parametrize("sizes", [[1000] * 700, [700_000], [10, 690_000, 9_990], [0, 300_000, 0, 400_000]])
def test_a_long_stream_is_sampled_evenly_and_within_bounds(sizes):
    reservoir, start = Reservoir(), 0
    for size in sizes:
        reservoir.add(torch.arange(start, start + size) / 700_000)
        start += size
    kept = reservoir.values.double()
    assert 2**15 <= len(kept) <= 2**17
    cells = torch.histc(kept, bins=7, min=0, max=1) / len(kept)
    assert (cells - 1 / 7).abs().max() < 0.01
    assert kept.mean() == pytest.approx(0.5, abs=0.01)


def test_the_same_stream_gives_the_same_sample_whatever_the_global_seed():
    samples = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        reservoir = Reservoir()
        for _ in range(4):
            reservoir.add(torch.arange(100_000.0))
        samples.append(reservoir.values)
    assert torch.equal(*samples)
