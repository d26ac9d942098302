"""Measures of prediction: loss, accuracy, calibration, and the interval of the loss."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nanopoet.common.types import Array
from nanopoet.prosody.forms import FORMS
from nanopoet.tokens.tokenizer import BEGIN_ID, SPECIAL_TOKENS, CharTokenizer

_RESAMPLES = 1000
"""Bootstrap samples of the interval."""
_BINS = 10
"""Ranges of confidence, each a tenth wide."""


@dataclass(frozen=True)
class TokenScores:
    """Scores of the n tokens of N poems, separators included.

    Attributes:
        targets: (n,) the ids. Poem i has `targets[offsets[i]:offsets[i + 1]]`: its characters and,
            where poems are separated, the BEGIN that ends it.
        offsets: (N + 1,) where each poem begins.
        nats: (n,) the negative log-probability of each id.
        ranks: (n,) number of ids that the model thought likelier.
        confidence: (n,) probability of the likeliest id.
    """

    targets: Array
    offsets: Array
    nats: Array
    ranks: Array
    confidence: Array

    @property
    def is_character(self) -> Array:
        """Mask of the targets that are characters and no separators, (n,) bool."""
        is_character: Array = self.targets != BEGIN_ID
        return is_character

    @property
    def poem_nats(self) -> Array:
        """Nats of each poem, (N,), the separator that ends it included."""
        return sum_by_poem(self.nats, self.offsets)


def sum_by_poem(values: Array, offsets: Array) -> Array:
    """Sum (n,) values within each poem.

    Args:
        values: one for each token.
        offsets: (N + 1,) where each poem begins.

    Returns:
        (N,) sums.
    """
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.diff(total[offsets])


def prediction_figures(
    scores: TokenScores,
    tokenizer: CharTokenizer,
    forms: Sequence[str],
    duplicates: Sequence[str | None],
    seed: int,
) -> dict[str, Any]:
    """Compute all measures of prediction over N poems; docs/evaluation.md defines each.

    Args:
        scores: of the tokens of the poems.
        tokenizer: gave the tokens their ids.
        forms: N names, as `verse_form` gives them.
        duplicates: N entries, None for a poem without a duplicate in train.
        seed: of the bootstrap samples of the interval.
    """
    nats, character = scores.poem_nats, scores.is_character
    characters = sum_by_poem(character, scores.offsets)
    hits = sum_by_poem(character & (scores.ranks == 0), scores.offsets)
    low, high = interval(nats, characters, seed)
    bins = calibration_bins(scores)
    return {
        **loss_figures(nats, characters),
        **_loss_by_duplicate(nats, characters, duplicates),
        "nats_per_character_low": low,
        "nats_per_character_high": high,
        "nats_per_hanzi": _nats_per_hanzi(scores, tokenizer),
        "top_1": (scores.ranks[character] == 0).mean().item(),
        "top_5": (scores.ranks[character] < 5).mean().item(),
        "calibration_error": _calibration_error(bins),
        "calibration": bins,
        "nats_per_character_by_form": per_character_by_form(nats, characters, forms),
        "top_1_by_form": per_character_by_form(hits, characters, forms),
        "nats_by_position": nats_by_position(scores, forms),
    }


def loss_figures(nats: Array, characters: Array) -> dict[str, Any]:
    """Compute the loss over all of N poems, in three units.

    Args:
        nats: (N,) nats of each poem.
        characters: (N,) number of characters of each poem.

    >>> figures = loss_figures(np.array([6.0, 30.0, 60.0]), np.array([2, 10, 10]))
    >>> [(name, round(value, 2)) for name, value in figures.items()][:3]
    [('val_characters', 22), ('nats_per_character', 4.36), ('bits_per_character', 6.3)]
    """
    mean = nats.sum().item() / characters.sum().item()
    return {
        "val_characters": int(characters.sum()),
        "nats_per_character": mean,
        "bits_per_character": mean / math.log(2),
        "perplexity": math.exp(mean),
    }


def interval(nats: Array, characters: Array, seed: int) -> tuple[float, float]:
    """Compute the 95% interval of nats per character, by the percentile bootstrap over poems.

    N poems are drawn with replacement, 1,000 times (Efron & Tibshirani 1993, An Introduction to the
    Bootstrap, chapter 13).

    Args:
        nats: (N,) nats of each poem.
        characters: (N,) number of characters of each poem.
        seed: of the drawing.

    Returns:
        the lower and the upper end.

    >>> interval(np.array([8.0, 8.0]), np.array([2, 2]), seed=0)
    (4.0, 4.0)
    """
    rng, count = np.random.default_rng(seed), len(nats)
    means = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        drawn = rng.integers(count, size=count)
        means[i] = nats[drawn].sum() / characters[drawn].sum()
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return low, high


def per_character_by_form(sums: Array, characters: Array, forms: Sequence[str]) -> dict[str, float]:
    """Divide sums by characters within each form; the commonest form comes first.

    Args:
        sums: (N,) a sum over each poem, such as its nats.
        characters: (N,) number of characters of each poem.
        forms: N names.

    >>> nats, characters = np.array([6.0, 30.0, 60.0]), np.array([2, 10, 10])
    >>> per_character_by_form(nats, characters, ["词", "诗", "诗"])
    {'诗': 4.5, '词': 3.0}
    """
    named = np.array(forms)
    figures = {}
    for form, _ in Counter(forms).most_common():
        chosen = named == form
        figures[form] = sums[chosen].sum().item() / characters[chosen].sum().item()
    return figures


def nats_by_position(scores: TokenScores, forms: Sequence[str]) -> dict[str, list[list[float]]]:
    """Average the nats at each place of the poems of each regular form.

    Returns:
        form → line → place in the line; the last place is the mark.
    """
    separated = int(scores.targets[-1] == BEGIN_ID)
    characters, named = np.diff(scores.offsets) - separated, np.array(forms)
    found = {}
    for form in FORMS.values():
        size = form.lines * (form.length + 1)
        starts = scores.offsets[:-1][(named == form.style) & (characters == size)]
        if len(starts):
            mean = scores.nats[starts[:, None] + np.arange(size)].mean(axis=0)
            found[form.style] = mean.reshape(form.lines, form.length + 1).tolist()
    return found


def calibration_bins(scores: TokenScores) -> list[dict[str, float]]:
    """Compare confidence and accuracy by tenths of confidence, without separators.

    Returns:
        for each tenth that occurs: the mean `confidence`, the `accuracy` of the likeliest id and
        the `share` of all predictions.
    """
    character = scores.is_character
    confidence, hits = scores.confidence[character], scores.ranks[character] == 0
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins = []
    for i in range(_BINS):
        if (inside := place == i).any():
            bins.append(
                {
                    "confidence": confidence[inside].mean(dtype=np.float64).item(),
                    "accuracy": hits[inside].mean().item(),
                    "share": inside.mean().item(),
                }
            )
    return bins


def _calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Average the gap between confidence and accuracy, each bin weighted by its share.

    (expected calibration error: Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2)
    """
    return sum(abs(each["confidence"] - each["accuracy"]) * each["share"] for each in bins)


def _loss_by_duplicate(
    nats: Array, characters: Array, duplicates: Sequence[str | None]
) -> dict[str, float]:
    """Compute the loss over poems with and without a duplicate in train, if there are any."""
    has_duplicate = np.array([duplicate is not None for duplicate in duplicates])
    return {
        f"nats_per_character_{name}": (nats[chosen].sum() / characters[chosen].sum()).item()
        for name, chosen in (
            ("with_duplicate", has_duplicate),
            ("without_duplicate", ~has_duplicate),
        )
        if chosen.any()
    }


def _nats_per_hanzi(scores: TokenScores, tokenizer: CharTokenizer) -> float | None:
    """Average the nats of all characters but punctuation; None if there are none."""
    letters = np.array([c.isalpha() for c in tokenizer.characters])
    hanzi = np.concatenate([np.zeros(len(SPECIAL_TOKENS), bool), letters])[scores.targets]
    return scores.nats[hanzi].mean().item() if hanzi.any() else None
