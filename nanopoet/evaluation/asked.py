"""Measures of poems that a form was asked for, form by form and on average."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from nanopoet.evaluation.verse import Corpus, JudgedPoem, verse_figures

_OF_ALL_FORMS = ("regular", "known_shape", "by_form", "styles", "score")
"""Measures of `verse_figures` that say nothing of poems in one form."""


def asked_figures(
    written: Mapping[str, Sequence[JudgedPoem]], corpus: Corpus
) -> dict[str, dict[str, Any]]:
    """Compute the measures of the poems that were written for each form.

    Args:
        written: the form's style → its poems.
        corpus: the training poems.

    Returns:
        for each style `form`, the share of poems that have it, and the measures of
        `verse_figures`; and under `mean` the mean over the styles.
    """
    figures = {
        style: {"form": fmean(poem.verse.form == style for poem in poems)}
        | {
            name: value
            for name, value in verse_figures(poems, corpus).items()
            if name not in _OF_ALL_FORMS
        }
        for style, poems in written.items()
        if poems
    }
    return figures | {"mean": _mean(list(figures.values()))}


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Average each measure over the rows that have it."""
    names = rows[0] if rows else ()
    known = {name: [row[name] for row in rows if row[name] is not None] for name in names}
    return {name: fmean(values) if values else None for name, values in known.items()}
