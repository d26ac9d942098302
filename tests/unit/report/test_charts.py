"""Charts: labels that can be read, in SVG and in PNG."""

import re
import struct

import pytest

from nanopoet.report.charts import bars_chart, forms_chart_png, loss_chart, loss_chart_png
from nanopoet.training.history import StepRecord

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


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


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    assert png.startswith(PNG_SIGNATURE)
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_chinese_labels_have_room_where_they_were_drawn_without_a_font() -> None:
    chart = bars_chart({"model": {"七言律诗": 1.0}}, "nats")
    left = re.search(r"translate\((\d+),", chart)
    assert left
    assert int(left[1]) > 5 * 12  # four characters, and the width of one more before the bars


def test_a_loss_chart_marks_each_evaluation() -> None:
    chart = loss_chart(records(20))
    assert chart.count('aria-label="training tokens') == 4 + 2  # four points, two lines
    assert "nats per character" in chart


@pytest.mark.parametrize("count", [2, 20])
def test_a_loss_chart_is_a_png_that_changes_with_the_losses(count: int) -> None:
    png = loss_chart_png(records(count))
    width, height = size(png)
    assert width > 1000
    assert height > 500
    assert png != loss_chart_png(records(count + 10))


def test_a_png_names_forms_in_english() -> None:
    """The drawing machine may lack a Chinese font."""
    chinese = {"五言绝句": 4.8, "七言律诗": 4.4, "诗经": 3.2, "词等": 4.5}
    english = {"jueju of 5": 4.8, "lüshi of 7": 4.4, "Shijing": 3.2, "ci and others": 4.5}
    png = forms_chart_png(chinese)
    assert size(png)[0] > 900
    assert png == forms_chart_png(english)
    assert png != forms_chart_png(english | {"Shijing": 3.3})
