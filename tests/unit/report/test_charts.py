"""Charts: labels that can be read, and marks."""

import re

from nanopoet.report.charts import bars_chart, loss_chart
from nanopoet.training.history import StepRecord


def records(count: int = 20) -> list[StepRecord]:
    return [
        StepRecord(
            step=step,
            tokens=1000 * (step + 1),
            lr=0.1,
            loss_train=9 - step / 4,
            grad_norm=1.0,
            loss_val=8 - step / 4 if step % 5 == 0 else None,
        )
        for step in range(count)
    ]


def test_chinese_labels_have_room_where_they_were_drawn_without_a_font() -> None:
    chart = bars_chart({"model": {"七言律诗": 1.0}}, "nats")
    left = re.search(r"translate\((\d+),", chart)
    assert left
    assert int(left[1]) > 5 * 12  # four characters, and the width of one more before the bars


def test_a_loss_chart_marks_each_evaluation() -> None:
    chart = loss_chart(records(20))
    assert chart.count('aria-label="training tokens') == 4 + 2  # four points, two lines
    assert "nats per character" in chart
