"""Charts: labels that can be read, and marks."""

import re

from nanopoet.report.charts import bars_chart, calibration_chart, lines_chart, loss_chart
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


def text_of(chart: str) -> tuple[str, str]:
    """Return title and description of a chart, which must stand where readers look for them."""
    found = re.match(r'<svg [^>]*role="img"[^>]*><title>([^<]+)</title><desc>([^<]+)</desc>', chart)
    assert found
    return found[1], found[2]


def test_a_chart_says_its_figures() -> None:
    assert text_of(loss_chart(records(20))) == (
        "Loss during training",
        "In nats per character. training: 9.000 at 1,000, lowest 4.250 at 20,000, highest 9.000 at "
        "1,000, 4.250 at 20,000 training tokens. validation: 8.000 at 1,000, lowest 4.250 at "
        "16,000, highest 8.000 at 1,000, 4.250 at 16,000 training tokens.",
    )
    assert text_of(bars_chart({"a & b": {"词": 0.123}}, "share", format="%")) == (
        "share by form",
        "a &amp; b: 词 12.3%.",
    )
    assert text_of(calibration_chart([{"confidence": 0.25, "accuracy": 0.5}])) == (
        "Calibration",
        "Confidence → accuracy: 0.25 → 0.50.",
    )
    assert text_of(lines_chart({"KL": [(0, 0.0), (1, 0.5)]}, "update", "nats")) == (
        "KL by update",
        "In nats. KL: 0.000 at 0, lowest 0.000 at 0, highest 0.500 at 1, 0.500 at 1 update.",
    )


def test_a_training_without_an_evaluation_has_a_chart() -> None:
    records = [StepRecord(step=0, tokens=9, lr=0.1, loss_train=2.0, grad_norm=1.0)]
    assert "validation:" not in text_of(loss_chart(records))[1]
