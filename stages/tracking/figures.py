"""The course of a training and its losses as pictures."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from nanopoet.training.history import StepRecord

mpl.use("Agg")

# A picture must not depend on a Chinese font.
_ENGLISH = {
    "五言绝句": "jueju of 5",
    "七言绝句": "jueju of 7",
    "五言律诗": "lüshi of 5",
    "七言律诗": "lüshi of 7",
    "诗经": "Shijing",
    "词等": "ci and others",
}


def loss_figure(records: Sequence[StepRecord]) -> Figure:
    """Training and validation loss against training tokens."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([r.tokens for r in records], [r.loss_train for r in records], lw=0.7, label="train")
    looks = [(r.tokens, r.loss_val) for r in records if r.loss_val is not None]
    axes.plot(*zip(*looks, strict=True), marker="o", ms=3, label="val")
    axes.set(xlabel="training tokens", ylabel="nats per character")
    axes.legend()
    return figure


def forms_figure(forms: Mapping[str, float]) -> Figure:
    """Loss of each form as a bar."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    names = [_ENGLISH.get(form, form) for form in forms]
    axes.bar_label(axes.barh(names, list(forms.values())), fmt="%.3f", padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="nats per character, all of validation")
    axes.margins(x=0.12)
    return figure
