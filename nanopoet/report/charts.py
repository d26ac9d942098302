"""Charts of one training run as SVG.

Text stays text, so that it takes the colours and the fonts of the page around it. Each chart has a
title and a description with its figures, for readers who do not see it.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from unicodedata import east_asian_width

import vl_convert

from nanopoet.training.history import StepRecord

Rows = Sequence[Mapping[str, Any]]
Spec = dict[str, Any]
"""A chart in the grammar of Vega-Lite, https://vega.github.io/vega-lite/docs/spec.html."""

NATS = "nats per character"
"""Title of an axis that shows a loss."""

_FONT_SIZE = 12
_WIDTH = 400
"""Pixels between the axes. Text of wider charts would be too small on a phone."""
_CONFIG: Spec = {
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": _FONT_SIZE,
        "titleFontSize": _FONT_SIZE,
        "titleFontWeight": "normal",
    },
    "legend": {"labelFontSize": _FONT_SIZE, "title": None, "orient": "top"},
    "font": "sans-serif",
}

_BLUE, _ORANGE, _GREEN = "#4c78a8", "#e4812b", "#54a24b"


def loss_chart(records: Sequence[StepRecord]) -> str:
    """Draw training and validation loss against training tokens, as SVG."""
    rows = [{"tokens": r.tokens, "loss": r.loss_train, "part": "train"} for r in records]
    evaluated = [r for r in records if r.loss_val is not None]
    rows += [{"tokens": r.tokens, "loss": r.loss_val, "part": "val"} for r in evaluated]
    encoding = {
        "x": _field(
            "tokens", "quantitative", "training tokens", axis={"format": "~s", "tickCount": 5}
        ),
        "y": _field("loss", "quantitative", NATS, scale={"zero": False}),
        "color": _colors("part", ["train", "val"]),
    }
    layers = [
        {"mark": {"type": "line", "strokeWidth": 1}, "transform": [_only("part", "train")]},
        {"mark": {"type": "line", "point": True}, "transform": [_only("part", "val")]},
    ]
    losses = {
        "training": [(r.tokens, r.loss_train) for r in records],
        "validation": [(r.tokens, r.loss_val) for r in evaluated if r.loss_val is not None],
    }
    return _svg(
        _spec(rows, _WIDTH, 240, encoding=encoding, layer=layers),
        "Loss during training",
        f"In {NATS}. {_course(losses, 'training tokens')}",
    )


def lines_chart(lines: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> str:
    """Draw lines, as SVG.

    Args:
        lines: name → points (x, y).
        x: title of the horizontal axis.
        y: title of the vertical axis.
    """
    rows = [{"x": a, "y": b, "line": name} for name, each in lines.items() for a, b in each]
    encoding = {
        "x": _field("x", "quantitative", x),
        "y": _field("y", "quantitative", y, scale={"zero": False}),
        "color": _colors("line", list(lines)),
    }
    mark = {"type": "line", "strokeWidth": 1}
    return _svg(
        _spec(rows, _WIDTH, 200, mark=mark, encoding=encoding),
        f"{' and '.join(lines)} by {x}",
        f"In {y}. {_course(lines, x)}",
    )


def bars_chart(values: Mapping[str, Mapping[str, float]], title: str, **axis: Any) -> str:
    """Draw bars side by side, as SVG: for each form one bar of each source.

    Args:
        values: source → form → value.
        title: of the axis of the values.
        axis: more properties of the axis, as Vega-Lite names them.
    """
    rows = [
        {"source": source, "form": form, "value": value}
        for source, forms in values.items()
        for form, value in forms.items()
    ]
    encoding = {
        "y": _field("form", "nominal", None, sort=None, axis={"minExtent": _label_width(rows)}),
        "yOffset": _field("source", "nominal", None, sort=None),
        "x": _field("value", "quantitative", title, axis=axis),
        "color": _colors("source", list(values)),
    }
    digits = ".1%" if axis.get("format") == "%" else ".2f"
    described = (
        f"{source}: {', '.join(f'{form} {value:{digits}}' for form, value in forms.items())}."
        for source, forms in values.items()
    )
    return _svg(
        _spec(rows, _WIDTH - 60, {"step": 18}, mark="bar", encoding=encoding),
        f"{title} by form",
        " ".join(described),
    )


def calibration_chart(bins: Rows) -> str:
    """Draw accuracy against confidence, as SVG; the diagonal is perfect calibration.

    Args:
        bins: rows of `confidence` and `accuracy`.
    """
    encoding = {
        "x": _field("confidence", "quantitative", "confidence", scale={"domain": [0, 1]}),
        "y": _field("accuracy", "quantitative", "accuracy", scale={"domain": [0, 1]}),
    }
    ends = [{"confidence": end, "accuracy": end} for end in (0, 1)]
    diagonal = {
        "data": {"values": ends},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "#888", "strokeWidth": 1},
    }
    points = {"mark": {"type": "line", "point": True, "color": _BLUE}}
    described = (f"{each['confidence']:.2f} → {each['accuracy']:.2f}" for each in bins)
    return _svg(
        _spec(bins, 240, 240, encoding=encoding, layer=[diagonal, points]),
        "Calibration",
        f"Confidence → accuracy: {', '.join(described)}.",
    )


def _label_width(rows: Rows) -> int:
    """Compute the pixels that the labels beside the bars need.

    A drawing machine without a Chinese font measures them too narrow for the browser that has one.
    """
    wide = (sum(east_asian_width(character) in "WF" for character in row["form"]) for row in rows)
    return _FONT_SIZE * (max(wide, default=0) + 1)


def _spec(rows: Rows, width: int, height: int | Spec, **rest: Any) -> Spec:
    return {"data": {"values": list(rows)}, "width": width, "height": height, **rest}


def _field(name: str, kind: str, title: str | None, **more: Any) -> Spec:
    return {"field": name, "type": kind, "title": title, **more}


def _colors(name: str, values: list[str]) -> Spec:
    palette = [_BLUE, _ORANGE, _GREEN][: len(values)]
    return _field(name, "nominal", None, scale={"domain": values, "range": palette})


def _only(name: str, value: str) -> Spec:
    return {"filter": {"field": name, "equal": value}}


def _course(lines: Mapping[str, Sequence[tuple[float, float]]], x: str) -> str:
    """Say where lines begin, where they are lowest and highest, and where they end.

    >>> _course({"training": [(1, 9.0), (2, 3.0), (3, 4.0)]}, "updates")
    'training: 9.000 at 1, lowest 3.000 at 2, highest 9.000 at 1, 4.000 at 3 updates.'
    """
    texts = []
    for name, points in lines.items():
        if points:
            ends = [points[0], min(points, key=_height), max(points, key=_height), points[-1]]
            words = ("", "lowest ", "highest ", "")
            course = ", ".join(
                f"{word}{b:,.3f} at {a:,}" for word, (a, b) in zip(words, ends, strict=True)
            )
            texts.append(f"{name}: {course} {x}.")
    return " ".join(texts)


def _height(point: tuple[float, float]) -> float:
    return point[1]


def _svg(spec: Spec, title: str, description: str) -> str:
    svg: str = vl_convert.vegalite_to_svg(spec, config=_CONFIG, allowed_base_urls=[])
    head, end, rest = svg.partition(">")
    assert head.startswith("<svg")
    text = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return f'{head} role="img"{end}{text}{rest}'
