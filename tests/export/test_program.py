from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.outputs import flatten_output
from export.program import export_program, load_program
from export.runner import METADATA_FILE
from rewriter.errors import ExportError
from rewriter.sources.inputs import InputSpec, example_inputs


def test_one_file_serves_every_batch_and_sequence_length(text, tmp_path: Path) -> None:
    model, specs = text
    export_program(model, specs, tmp_path / "model.pt2")
    run = load_program(tmp_path / "model.pt2")
    for batch_size, length in ((1, 12), (2, 5), (7, 16)):
        sized = [spec.model_copy(update={"shape": (length,)}) for spec in specs]
        inputs = example_inputs(sized, batch_size)
        with torch.no_grad():
            expected = flatten_output(model.eval()(**inputs))
        torch.testing.assert_close(tuple(run(inputs)), expected)


def test_the_metadata_is_a_member_of_the_archive(small, tmp_path: Path) -> None:
    model, specs = small
    export_program(model, specs, tmp_path / "model.pt2", metadata={"method": "sa"})
    files = {METADATA_FILE: ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=files)
    assert files[METADATA_FILE] == '{"method": "sa"}'


def test_the_file_tells_nothing_of_the_machine_that_made_it(small, tmp_path: Path) -> None:
    model, specs = small
    export_program(model, specs, tmp_path / "model.pt2")
    assert str(Path(torch.__file__).parent).encode() not in (tmp_path / "model.pt2").read_bytes()


def test_a_batch_that_the_model_fixes_is_an_export_error(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def forward(self, input: Tensor) -> Tensor:
            return input + torch.ones(2, 8)

    with pytest.raises(ExportError, match=r"torch\.export"):
        export_program(Fixed(), [InputSpec(name="input", shape=(8,))], tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())
