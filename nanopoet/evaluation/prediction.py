"""Figures of how well poems were predicted: loss, accuracy, calibration, and how sure they are."""

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
_BINS = 10


@dataclass(frozen=True)
class TokenScores:
    """How a model predicted the n tokens of N poems, separators included.

    Attributes:
        targets: (n,) the ids; poem i's are `targets[offsets[i]:offsets[i + 1]]`, in which its
            characters come first, then, where poems are separated, the BEGIN that ends it.
        offsets: (N + 1,).
        nats: (n,) what each takes to encode.
        ranks: (n,) how many ids were thought likelier.
        confidence: (n,) probability of the likeliest id.
    """

    targets: Array
    offsets: Array
    nats: Array
    ranks: Array
    confidence: Array

    @property
    def poem_nats(self) -> Array:
        """Nats of each poem, (N,), the separator that ends it included."""
        return sum_by_poem(self.nats, self.offsets)


def sum_by_poem(values: Array, offsets: Array) -> Array:
    """Sum of (n,) values within each poem, (N,)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.diff(total[offsets])


def prediction_figures(
    scores: TokenScores,
    tokenizer: CharTokenizer,
    forms: Sequence[str],
    duplicates: Sequence[str | None],
    seed: int,
) -> dict[str, Any]:
    """All figures of prediction over N poems; docs/evaluation.md defines each.

    Args:
        scores: of their tokens.
        tokenizer: gave them their ids.
        forms: N names, as `verse_form` gives them.
        duplicates: N entries, None for a poem without a duplicate in train.
        seed: of the interval's resampling.
    """
    character = scores.targets != BEGIN_ID
    characters = sum_by_poem(character, scores.offsets)
    letters = np.array([c.isalpha() for c in tokenizer.characters])
    hanzi = np.concatenate([np.zeros(len(SPECIAL_TOKENS), bool), letters])[scores.targets]
    low, high = interval(scores.poem_nats, characters, seed)
    bins = calibration_bins(scores)
    figures: dict[str, Any] = loss_figures(scores.poem_nats, characters)
    has_duplicate = np.array([duplicate is not None for duplicate in duplicates])
    for name, chosen in (("with_duplicate", has_duplicate), ("without_duplicate", ~has_duplicate)):
        if chosen.any():
            share = scores.poem_nats[chosen].sum() / characters[chosen].sum()
            figures[f"nats_per_character_{name}"] = share.item()
    return figures | {
        "nats_per_character_low": low,
        "nats_per_character_high": high,
        "nats_per_hanzi": scores.nats[hanzi].mean().item() if hanzi.any() else None,
        "top_1": (scores.ranks[character] == 0).mean().item(),
        "top_5": (scores.ranks[character] < 5).mean().item(),
        "calibration_error": _calibration_error(bins),
        "calibration": bins,
        "nats_per_character_by_form": per_character_by_form(scores.poem_nats, characters, forms),
        "top_1_by_form": _top_1_by_form(scores, forms),
        "nats_by_position": nats_by_position(scores, forms),
    }


def loss_figures(nats: Array, characters: Array) -> dict[str, Any]:
    """Loss over all of N poems that take `nats` (N,) and have `characters` (N,).

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
    """Between which values 95% of nats per character fall if other poems had been drawn.

    The percentile bootstrap over poems: N of them are drawn with replacement, 1,000 times
    (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).

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
    """A sum per character over the poems of each form, the commonest form first.

    Args:
        sums: (N,) what there is of something in each poem, such as nats.
        characters: (N,) how long it is.
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
    """Mean nats of each place in the poems of each regular form.

    Returns:
        form → line → place in it; the last place is the mark's.
    """
    separated = int(scores.targets[-1] == BEGIN_ID)
    characters, named = np.diff(scores.offsets) - separated, np.array(forms)
    found = {}
    for form, lines, width in FORMS.values():
        size = lines * (width + 1)
        starts = scores.offsets[:-1][(named == form) & (characters == size)]
        if len(starts):
            mean = scores.nats[starts[:, None] + np.arange(size)].mean(axis=0)
            found[form] = mean.reshape(lines, width + 1).tolist()
    return found


def calibration_bins(scores: TokenScores) -> list[dict[str, float]]:
    """Whether a model is as often right as it is confident, separators left out.

    Returns:
        for each tenth of confidence that occurs: the mean `confidence` there, the `accuracy` of
        the likeliest id and the `share` of all predictions.
    """
    character = scores.targets != BEGIN_ID
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
    return sum(abs(each["confidence"] - each["accuracy"]) * each["share"] for each in bins)


def _top_1_by_form(scores: TokenScores, forms: Sequence[str]) -> dict[str, float]:
    character = scores.targets != BEGIN_ID
    hits = sum_by_poem(character & (scores.ranks == 0), scores.offsets)
    return per_character_by_form(hits, sum_by_poem(character, scores.offsets), forms)
