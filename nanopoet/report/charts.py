"""The report's charts as SVG: text stays text, and the page's colours hold in them."""

from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import east_asian_width

import vl_convert

from nanopoet.training.history import StepRecord

Rows = Sequence[Mapping[str, Any]]

_FONT_SIZE = 12
_CONFIG = {
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
_BLUE, _ORANGE = "#4c78a8", "#e4812b"
NATS = "nats per character"


def loss_chart(records: Sequence[StepRecord]) -> str:
    """Training and validation loss against training tokens."""
    rows = [{"tokens": r.tokens, "loss": r.loss_train, "of": "train"} for r in records]
    looks = [r for r in records if r.loss_val is not None]
    rows += [{"tokens": r.tokens, "loss": r.loss_val, "of": "val"} for r in looks]
    x = _field("tokens", "quantitative", "training tokens", axis={"format": "~s"})
    y = _field("loss", "quantitative", NATS, scale={"zero": False})
    encoding = {"x": x, "y": y, "color": _colors("of", ["train", "val"])}
    layers = [
        {"mark": {"type": "line", "strokeWidth": 1}, "transform": [_only("of", "train")]},
        {"mark": {"type": "line", "point": True}, "transform": [_only("of", "val")]},
    ]
    return _svg(rows, {"encoding": encoding, "layer": layers}, width=560, height=260)


def bars_chart(values: Mapping[str, Mapping[str, float]], title: str, **axis: Any) -> str:
    """Source → form → value as bars: for each form one bar of each source's colour."""
    rows = [
        {"source": source, "form": form, "value": value}
        for source, forms in values.items()
        for form, value in forms.items()
    ]
    encoding = {
        "y": _field("form", "nominal", None, sort=None, axis={"minExtent": _room(rows)}),
        "yOffset": _field("source", "nominal", None, sort=None),
        "x": _field("value", "quantitative", title, axis=axis),
        "color": _colors("source", list(values)),
    }
    return _svg(rows, {"mark": "bar", "encoding": encoding}, width=480, height={"step": 18})


def _room(rows: Rows) -> int:
    """Pixels for the labels beside the bars: without a Chinese font on the machine that draws,
    they are measured too narrow for the browser that has one.
    """
    wide = (sum(east_asian_width(sign) in "WF" for sign in row["form"]) for row in rows)
    return _FONT_SIZE * (max(wide, default=0) + 1)


def calibration_chart(bins: Rows) -> str:
    """Accuracy against confidence; on the diagonal a model is as right as it is sure."""
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
    return _svg(bins, {"encoding": encoding, "layer": [diagonal, points]}, width=260, height=260)


def _field(name: str, kind: str, title: str | None, **more: Any) -> dict[str, Any]:
    return {"field": name, "type": kind, "title": title, **more}


def _colors(name: str, values: list[str]) -> dict[str, Any]:
    palette = [_BLUE, _ORANGE, "#54a24b"][: len(values)]
    return _field(name, "nominal", None, scale={"domain": values, "range": palette})


def _only(name: str, value: str) -> dict[str, Any]:
    return {"filter": {"field": name, "equal": value}}


def _svg(rows: Rows, spec: dict[str, Any], width: int, height: Any) -> str:
    svg: str = vl_convert.vegalite_to_svg(
        {"data": {"values": list(rows)}, "width": width, "height": height, **spec},
        config=_CONFIG,
        allowed_base_urls=[],
    )
    return svg
