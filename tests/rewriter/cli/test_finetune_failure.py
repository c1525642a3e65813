from __future__ import annotations

from datetime import timedelta

import pytest
from torch.distributed import TCPStore

from rewriter.cli.finetune_failure import one_failure
from rewriter.errors import ValidationError

FAILURE = ValidationError(expected="a", found="b", remedy="c")


def fail() -> None:
    with one_failure():
        raise FAILURE


def test_the_first_of_several_failures_is_raised_and_the_next_ends_silently(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    environment = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for attempt in ("0", "1"):  # a launcher starts them anew
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt)
        with pytest.raises(ValidationError):
            fail()
        with pytest.raises(SystemExit) as end:
            fail()
        assert end.value.code == FAILURE.exit_code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "2"}, {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}])
def test_a_failure_that_nobody_can_be_told_of_is_raised(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewriter.cli.finetune_failure._PATIENCE", timedelta(milliseconds=50))
    for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", **environment}.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        with pytest.raises(ValidationError):
            fail()
