"""How many poems keep the rules of verse, how varied they are, and how much of them is new."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np

from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.copying import lines_that_recur, longest_copies
from nanopoet.prosody.forms import FORMS, split_lines
from nanopoet.prosody.rhyme import readings
from nanopoet.prosody.rules import Verse, held

_STYLES_SHOWN = 10


@dataclass(frozen=True)
class Judged:
    """One poem, what the rules say of it, and what of it the training poems have.

    Attributes:
        verse: what the rules say.
        style: the commonest style among the training poems with lines of the same lengths; None
            if there is no such poem.
        copied: length of the longest passage that stands in a training poem, marks included.
        recurring: of each line, whether it is a line of a training poem.
    """

    verse: Verse
    style: str | None
    copied: int
    recurring: tuple[bool, ...]

    @property
    def is_copy(self) -> bool:
        """Whether one passage of a training poem makes up half of the poem or more."""
        return 0 < len(self.verse.text) <= 2 * self.copied

    @property
    def score(self) -> float | None:
        """What orders poems from worst to best, 0 to 1: `verse.score`, lowered by copying.

        A poem without a passage from the training poems keeps its score, a copy gets 0. Of a
        poem with the line lengths of some tune the rules say nothing: None.
        """
        score, length = self.verse.score, len(self.verse.text)
        if score is None or (self.verse.form is None and self.style is not None):
            return None
        return score * (1 - self.copied / length) if length else 0.0


def judge(sources: Mapping[str, Sequence[str]], train: Sequence[Poem]) -> dict[str, list[Judged]]:
    """Judge the texts of several sources.

    Args:
        sources: name → texts.
        train: the poems against which a text is new or not.
    """
    texts = [text for each in sources.values() for text in each]
    styles = _styles(train)
    copied = longest_copies(texts, [poem["content"] for poem in train]).tolist()
    recurring = lines_that_recur(texts, train)
    judged = iter(
        Judged(Verse.of(text), styles.get(_shape(text)), length, tuple(lines))
        for text, length, lines in zip(texts, copied, recurring, strict=True)
    )
    return {name: [next(judged) for _ in each] for name, each in sources.items()}


def verse_figures(poems: Sequence[Judged]) -> dict[str, Any]:
    """All measures over N poems: shares from 0 to 1, unless docs/evaluation.md says otherwise.

    A measure that is about regular poems, or about those that were judged, is None where there
    are none.
    """
    verses = [poem.verse for poem in poems]
    regular = [verse for verse in verses if verse.form]
    lines = [line for verse in verses for line in verse.lines]
    characters = "".join(lines)
    pairs = ["".join(pair) for line in lines for pair in pairwise(line)]
    styles = Counter(poem.style or "" for poem in poems)
    return {
        "poems": len(poems),
        "regular": len(regular) / len(poems),
        **_rules(regular),
        "repeated_characters": _mean(verse.repeated for verse in regular),
        "distinct_1": len(set(characters)) / max(1, len(characters)),
        "distinct_2": len(set(pairs)) / max(1, len(pairs)),
        "known_shape": 1 - styles[""] / len(poems),
        "longest_copy": fmean(poem.copied for poem in poems),
        "lines_in_train": _mean(line for poem in poems for line in poem.recurring),
        "copies": fmean(poem.is_copy for poem in poems),
        "unknown_characters": _mean(not readings(character) for character in characters),
        "score": held(poem.score for poem in poems),
        "by_form": {
            form: {"share": len(chosen) / len(poems), **_rules(chosen)}
            for form, _, _ in FORMS.values()
            if (chosen := [verse for verse in regular if verse.form == form])
        },
        "styles": {
            style or "-": count / len(poems) for style, count in styles.most_common(_STYLES_SHOWN)
        },
    }


def examples(poems: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """Of the poems with a score those with the highest, the median and the lowest one.

    The first of equals; nothing if there is no score.
    """
    scored = [(poem.score, poem) for poem in poems if poem.score is not None]
    ordered = sorted(scored, key=lambda each: -each[0])
    places = {"best": 0, "typical": (len(ordered) - 1) // 2, "worst": -1} if ordered else {}
    chosen = {rank: ordered[place] for rank, place in places.items()}
    return {
        rank: {"text": poem.verse.text, "score": score, "style": poem.style}
        for rank, (score, poem) in chosen.items()
    }


def draw_texts(poems: Sequence[Poem], count: int, length: int, seed: int) -> list[str]:
    """`count` different poems, or all if there are no more, drawn by `seed` and cut to `length`."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(poems), min(count, len(poems)), replace=False)
    return [poems[i]["content"][:length] for i in chosen]


def _rules(regular: Sequence[Verse]) -> dict[str, float | None]:
    """Shares of regular poems, or of their lines, couplets and joints, that keep each rule."""
    return {
        "rhyme": held(verse.rhyme for verse in regular),
        "rhyme_distinct": held(verse.rhyme_distinct for verse in regular),
        "tones_alternate": held(answer for verse in regular for answer in verse.alternate),
        "tones_oppose": held(answer for verse in regular for answer in verse.oppose),
        "tones_adhere": held(answer for verse in regular for answer in verse.adhere),
        "regulated": held(verse.regulated for verse in regular),
    }


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return fmean(values) if values else None


def _shape(text: str) -> tuple[int, ...]:
    return tuple(map(len, split_lines(text)))


def _styles(train: Sequence[Poem]) -> dict[tuple[int, ...], str]:
    """Lengths of the lines → the style that most poems with such lines have."""
    counts: dict[tuple[int, ...], Counter[str]] = {}
    for poem in train:
        counts.setdefault(_shape(poem["content"]), Counter())[poem["style"]] += 1
    return {shape: styles.most_common(1)[0][0] for shape, styles in counts.items()}
