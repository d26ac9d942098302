"""Records of runs: kept whole on disk, and turned into what MLflow shows."""

import shutil
from pathlib import Path

import pytest

from nanopoet.common.errors import FileError
from nanopoet.training.history import StepRecord
from stages.tracking.description import (
    describe,
    evaluation_metrics,
    is_measured_on_val,
    samples_table,
    step_metrics,
)
from stages.tracking.record import LoggedStep, RunRecord

STEPS = [
    LoggedStep(StepRecord(step=0, tokens=9, lr=0.1, loss_train=2.0, grad_norm=1.0), time=5),
    LoggedStep(
        StepRecord(
            step=1,
            tokens=18,
            lr=0.1,
            loss_train=1 / 3,
            grad_norm=1.0,
            loss_val=3.0,
            samples={"": "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"},
        ),
        time=1234,
        rates={"tokens_per_second": 5.5},
    ),
]
PARAMS = {
    "pretrain.architecture": "modern",
    "pretrain.layer_num": "2",
    "pretrain.emb_size": "16",
    "pretrain.max_steps": "4",
    "pretrain.batch_size": "3",
    "pretrain.block_size": "3",
}


def _record() -> RunRecord:
    return RunRecord("name", PARAMS, {"tag": "x"}, {"poems/val": "d"}, started=5, steps=[*STEPS])


def test_a_record_is_kept_whole(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    record = _record()
    record.evaluation, record.poems, record.report = {"x": {"y": [1.0, None]}}, "山\n", "<p>"
    record.model = tmp_path / "model"
    record.models = {1: Path(shutil.copytree(record.model, tmp_path / "of step 1"))}
    record.save(tmp_path / "kept")
    shutil.rmtree(tmp_path / "model")
    shutil.rmtree(tmp_path / "of step 1")
    again = RunRecord.load(tmp_path / "kept")
    assert again is not None
    assert again.model is not None
    assert (again.model / "config.json").read_text() == "{}"
    assert (again.models[1] / "config.json").read_text() == "{}"
    record.model, record.models = again.model, again.models
    assert again == record


def test_a_record_that_was_not_written_whole_is_none(tmp_path: Path) -> None:
    (tmp_path / "poet").mkdir()
    assert RunRecord.load(tmp_path) is None


def test_a_record_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"name": "x"}')
    with pytest.raises(FileError, match=r"record.json: not a record .*; delete its folder"):
        RunRecord.load(tmp_path)


def test_a_description_states_size_loss_and_poem() -> None:
    record = _record()
    record.status = "KILLED"
    assert describe(record) == (
        "**modern** model, 2 layers × 16, killed after 18 training tokens "
        "(2 of 4 steps of 3 × 3).\n\n"
        "Loss at step 1: train 0.333, val 3.000 nats per character.\n\n"
        "A poem:\n\n> 白日依山盡，黃河入海流。  \n> 欲窮千里目，更上一層樓。"
    )


def test_a_description_prefers_the_evaluation() -> None:
    record = _record()
    record.tags["nanopoet.differences"] = "pretrain.lr=0.1 (12345678)"
    record.evaluation = {"nats_per_character": 4.5}
    record.poems = "春眠不覺曉，處處聞啼鳥。\n夜來風雨聲？\n\n山\n"
    text = describe(record)
    assert "Differs from `params.yaml` as committed: pretrain.lr=0.1 (12345678)." in text
    assert (
        "All of validation: **4.5000** nats per character, perplexity 90: as unsure as among 90 "
        "equally likely characters."
    ) in text
    assert text.endswith("> 春眠不覺曉，處處聞啼鳥。  \n> 夜來風雨聲？")


def test_metrics_of_a_step_leave_out_what_it_does_not_have() -> None:
    first = {"loss/train": 2.0, "grad_norm": 1.0, "lr": 0.1, "tokens": 9}
    assert step_metrics(STEPS[0]) == first
    assert set(step_metrics(STEPS[1])) == {*first, "loss/val", "tokens_per_second"}


def test_metrics_of_an_evaluation_describe_the_model() -> None:
    rules = {"rhyme": 0.5, "regulated": None, "styles": {'a "style"': 1.0}}
    figures = {"nats": 4.0, "by_form": {"词等": 5.0}, "verse": {"model": rules, "human": rules}}
    assert evaluation_metrics(figures | {"calibration": [{"share": 1.0}]}) == {
        "evaluate/nats": 4.0,
        "evaluate/by_form/词等": 5.0,
        "evaluate/verse/model/rhyme": 0.5,
    }


def test_the_table_of_samples_begins_with_step_and_prompt() -> None:
    assert samples_table(_record())["data"] == [
        ["step 000001: (nothing)", "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。", 1, ""]
    ]


@pytest.mark.parametrize(
    ("metric", "on_val"),
    [
        ("loss/val", True),
        ("evaluate/nats_per_character", True),
        ("evaluate/nats_per_character_by_form/词等", True),
        ("evaluate/verse/model/rhyme", False),
        ("evaluate/asked/model/mean/form", False),
        ("loss/train", False),
        ("tokens", False),
    ],
)
def test_figures_of_poems_that_the_model_writes_are_on_no_dataset(
    metric: str, on_val: bool
) -> None:
    assert is_measured_on_val(metric) == on_val
