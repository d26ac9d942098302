"""The history of a training as files."""

from pathlib import Path

import pytest

from nanopoet.common.errors import FileError
from nanopoet.training.history import StepRecord, last_loss, read_history, write_history

RECORDS = [
    StepRecord(step=step, tokens=9, lr=0.1, loss_train=2.0, grad_norm=1.0, loss_val=loss)
    for step, loss in enumerate((4.0, None, 3.5, None))
]


def test_the_last_loss_is_that_of_the_last_evaluation(tmp_path: Path) -> None:
    assert last_loss(tmp_path) is None
    write_history(tmp_path, RECORDS)
    assert last_loss(tmp_path) == 3.5


@pytest.mark.parametrize("text", ["", "step,tokens\n1,2\n", "loss_val\nx\n", "loss_val\nnan\n"])
def test_a_damaged_history_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluations.csv").write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=r"evaluations.csv: damaged \("):
        last_loss(tmp_path)


@pytest.mark.parametrize("name", ["history.csv", "evaluations.csv"])
def test_a_history_without_its_last_row_is_damaged(tmp_path: Path, name: str) -> None:
    record = StepRecord(step=0, tokens=9, lr=0.1, loss_train=3.0, grad_norm=1.0, loss_val=4.0)
    more = StepRecord(step=1, tokens=18, lr=0.1, loss_train=3.0, grad_norm=1.0)
    last = StepRecord(
        step=2, tokens=27, lr=0.1, loss_train=3.0, grad_norm=1.0, loss_val=3.5, samples={"": "山"}
    )
    write_history(tmp_path, [record, more, last])
    path = tmp_path / name
    whole = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for rows in (1, len(whole) - 1):
        path.write_text("".join(whole[:rows]), encoding="utf-8")
        with pytest.raises(FileError, match="is missing or damaged"):
            read_history(tmp_path)
