from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rewriter.cli.opening import open_folder
from tests.models.small_classifier import small_classifier
from tests.rewriter.cli.conftest import Run
from tests.rewriter.finetune.rewritten import MODELS, content, weights, write_folders

DATA = ("--data", "data/train.npz", "--test", "data/test.npz")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (written,) = write_folders(tmp_path, "out")
    return written


def test_it_learns_and_leaves_weights_recipe_report_log_and_picture(folder: Path, run: Run) -> None:
    recipe, before = json.loads((folder / "recipe.json").read_text()), weights(folder)
    outcome = run("finetune", "out", *DATA, "--distill", 0, "--steps", 60, "--lr", 0.01, "--json")
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)  # one object, and nothing else; the progress goes to stderr
    assert record["after"]["accuracy"] > record["before"]["accuracy"] + 0.3
    assert record["after"]["loss"] < record["before"]["loss"]
    assert set(content(folder)) == {"model.safetensors", "recipe.json", "report.json", "finetune.csv", "finetune.png"}
    assert [path.name for path in folder.parent.glob(".*")] == []
    after = json.loads((folder / "recipe.json").read_text())
    assert after.pop("result") != recipe.pop("result")  # it tells the weights
    assert after == recipe
    assert json.loads((folder / "report.json").read_text())["finetunings"] == [record]
    rows = (folder / "finetune.csv").read_text().splitlines()
    assert rows[0] == "step,seconds,loss,lr,anneal,examples_per_second"
    assert [row.split(",")[0] for row in rows[1:]] == [str(step) for step in range(1, 61)]
    annealed = [float(row.split(",")[4]) for row in rows[1:]]
    assert annealed[0] == 0 < annealed[12] < 1 == annealed[24]
    assert (folder / "finetune.png").read_bytes().startswith(b"\x89PNG")
    assert any(not torch.equal(tensor, before[name]) for name, tensor in weights(folder).items())


def test_the_figures_are_those_of_the_saved_model(folder: Path, run: Run) -> None:
    record = json.loads(run("finetune", "out", *DATA, "--steps", 30, "--json").out)
    arrays = np.load("data/test.npz")
    model = open_folder(folder).model
    with torch.no_grad():
        answers, originals = (m(torch.from_numpy(arrays["x"])).argmax(1).numpy() for m in (model, small_classifier()))
    assert record["after"]["accuracy"] == pytest.approx((answers == arrays["y"]).mean())
    assert record["after"]["agreement"] == pytest.approx((answers == originals).mean())
    assert record["original"]["accuracy"] == pytest.approx((originals == arrays["y"]).mean())


def test_the_teacher_alone_brings_the_rewritten_model_near_the_original(folder: Path, run: Run) -> None:
    np.savez("unlabelled.npz", x=np.load("data/train.npz")["x"])
    outcome = run("finetune", "out", "--data", "unlabelled.npz", "--steps", 60, "--json")
    record = json.loads(outcome.out)
    assert record["settings"]["distill"] == 1
    assert record["after"]["accuracy"] is None
    assert record["after"]["agreement"] > max(record["before"]["agreement"], 0.999)


def test_the_result_is_verified_and_exported(folder: Path, run: Run) -> None:
    assert run("finetune", "out", *DATA, "--steps", 2).code == 0
    assert run("export", "out", "--to", "pt2").code == 0
    outcome = run("verify", "out", "--json")
    assert outcome.code == 0, outcome.err


def test_a_second_fine_tuning_starts_from_the_first_without_an_anneal(folder: Path, run: Run) -> None:
    first = json.loads(run("finetune", "out", *DATA, "--steps", 30, "--json").out)
    second = json.loads(run("finetune", "out", *DATA, "--steps", 1, "--lr", 1e-9, "--json").out)
    assert second["settings"]["anneal_steps"] == 0
    assert second["before"] == pytest.approx(first["after"])
    assert second["after"] == pytest.approx(first["after"], rel=1e-3)
    assert len(json.loads((folder / "report.json").read_text())["finetunings"]) == 2


def test_turned_signs_are_undone_by_no_one(folder: Path, run: Run) -> None:
    write_folders(folder.parent, "ga", method="ga")
    record = json.loads(run("finetune", "ga", *DATA, "--steps", 60, "--lr", 0.01, "--json").out)
    assert record["turned"]
    assert record["after"]["loss"] < record["before"]["loss"]
    assert run("verify", "ga").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "missing.npz"), "missing.npz, which does not exist"),
        (("--data", "wide.npz"), r"data that the model takes; found images [2, 1, 9, 9] from wide.npz"),
        (("--data", "classes.npz"), "labels from 0 to 9"),
        (("--data", "plain.npz", "--distill", 0), "data with labels, or --distill 1"),
        (("--data", "few.npz"), "at least 10 examples"),
        ((*DATA, "--optimizer", "lion"), "a valid optimizer"),
        ((*DATA, "--steps", 0), "a valid steps"),
        ((*DATA, "--augment", "rotate"), "a valid augment"),
        ((*DATA, "--distill", 2), "a valid distill"),
        ((*DATA, "--mean", "grey"), "numbers with commas between"),
        ((*DATA, "--precision", "fp12"), "a precision that accelerate offers"),
        ((*DATA, "--rate", 1), "No such option"),
        ((), "Missing option"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(
    arguments: tuple[object, ...], message: str, folder: Path, run: Run
) -> None:
    images, labels = (np.load("data/test.npz")[name] for name in ("x", "y"))
    np.savez("wide.npz", images=np.zeros((20, 1, 9, 9), dtype=np.float32), y=labels[:20])
    np.savez("classes.npz", x=images[:20], y=labels[:20] + 10)
    np.savez("plain.npz", x=images[:20])
    np.savez("few.npz", x=images[:9], y=labels[:9])
    before = content(folder)
    outcome = run("finetune", "out", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.out == ""
    assert content(folder) == before
    assert [path.name for path in folder.parent.glob(".*")] == []


def test_a_loss_that_is_not_finite_ends_with_4_and_leaves_nothing(folder: Path, run: Run) -> None:
    arrays = np.load("data/train.npz")
    images = arrays["x"].copy()
    images[7] = np.nan
    np.savez("nan.npz", x=images, y=arrays["y"])
    before = content(folder)
    options = ("--test", "data/test.npz", "--epochs", 1, "--save-minutes", 0)
    outcome = run("finetune", "out", "--data", "nan.npz", *options)
    assert outcome.code == 4
    assert "expected a finite loss; found nan at step" in outcome.err
    assert content(folder) == before
    assert [path.name for path in folder.parent.glob(".*")] == []


def test_a_failure_while_the_result_is_written_leaves_the_folder(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError("no space left")

    before = content(folder)
    monkeypatch.setattr("rewriter.cli.finetune_result.draw_loss", full)
    assert run("finetune", "out", *DATA, "--steps", 1).code == 1
    assert content(folder) == before


def test_weights_from_a_checkpoint_are_asked_for_as_the_teachers(folder: Path, run: Run) -> None:
    model = small_classifier()
    with torch.no_grad():
        model.head.bias.add_(1)
    save_file(model.state_dict(), "trained.safetensors")
    source = f"{MODELS}:small_classifier"
    assert run("apply", source, "--checkpoint", "trained.safetensors", "--method", "swap", "-o", "trained").code == 0
    outcome = run("finetune", "trained", *DATA, "--steps", 1)
    assert outcome.code == 2
    assert "--teacher-checkpoint with the weights of" in outcome.err
    alone = run("finetune", "trained", *DATA, "--steps", 1, "--distill", 0, "--json")
    assert alone.code == 0, alone.err
    assert json.loads(alone.out)["original"] is None
    outcome = run("finetune", "trained", *DATA, "--steps", 1, "--teacher-checkpoint", "trained.safetensors", "--json")
    assert json.loads(outcome.out)["original"]["agreement"] == 1
    np.savez("broken.npz", x=np.zeros(3))
    assert run("finetune", "trained", *DATA, "--teacher-checkpoint", "broken.npz").code == 6


def test_a_warm_start_is_not_annealed_away(folder: Path, run: Run) -> None:
    source = f"{MODELS}:small_classifier"
    made = run("apply", source, "--method", "hdfgd", "--activation", "gelu", "--init", "warm", "-o", "warm")
    assert made.code == 0, made.err
    assert run("finetune", "warm", *DATA, "--steps", 2).code == 0
    rows = Path("warm/finetune.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[4]) for row in rows] == [1, 1]


def test_a_folder_that_holds_no_rewritten_model_is_refused(tmp_path: Path, run: Run) -> None:
    assert run("finetune", tmp_path, "--data", tmp_path / "x.npz").code == 2
