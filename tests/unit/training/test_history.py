"""The history of a training as files."""

from pathlib import Path

import pytest

from nanopoet.common.errors import FileError
from nanopoet.training.history import StepRecord, last_loss, write_history

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
