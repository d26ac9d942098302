"""Charts of one training run as SVG.

Text stays text, so that it takes the colours and the fonts of the page around it.
"""

from collections.abc import Mapping, Sequence
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
        "x": _field("tokens", "quantitative", "training tokens", axis={"format": "~s"}),
        "y": _field("loss", "quantitative", NATS, scale={"zero": False}),
        "color": _colors("part", ["train", "val"]),
    }
    layers = [
        {"mark": {"type": "line", "strokeWidth": 1}, "transform": [_only("part", "train")]},
        {"mark": {"type": "line", "point": True}, "transform": [_only("part", "val")]},
    ]
    return _svg(_spec(rows, 560, 260, encoding=encoding, layer=layers))


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
    return _svg(_spec(rows, 560, 200, mark=mark, encoding=encoding))


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
    return _svg(_spec(rows, 480, {"step": 18}, mark="bar", encoding=encoding))


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
    return _svg(_spec(bins, 260, 260, encoding=encoding, layer=[diagonal, points]))


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


def _svg(spec: Spec) -> str:
    svg: str = vl_convert.vegalite_to_svg(spec, config=_CONFIG, allowed_base_urls=[])
    return svg
