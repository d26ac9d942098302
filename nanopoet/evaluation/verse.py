"""Measures of written poems: rules of verse kept, variety, and text copied from training poems."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.copying import lines_that_recur, longest_copies
from nanopoet.evaluation.couplets import Parallelism, couplets
from nanopoet.evaluation.readers import Reader, counting_reader
from nanopoet.evaluation.variety import (
    commonest_shares,
    distinct_pairs,
    distinct_pairs_within,
)
from nanopoet.prosody.forms import FORMS, split_lines
from nanopoet.prosody.rhyme import readings
from nanopoet.prosody.rules import Verse, held
from nanopoet.prosody.script import scripts_of
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import CharTokenizer

_STYLES_SHOWN = 10
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class JudgedPoem:
    """A poem, the rules of verse that it keeps, and its overlap with the training poems.

    Attributes:
        verse: the rules, applied to the poem.
        style: the commonest style of the training poems whose lines have the same lengths; None
            if there is no such poem.
        copied: length of its longest passage that stands in a training poem, marks included.
        recurring: for each line, whether it is also a line of a training poem.
    """

    verse: Verse
    style: str | None
    copied: int
    recurring: tuple[bool, ...]

    @property
    def is_copy(self) -> bool:
        """True if one passage of a training poem makes up half of the poem or more."""
        return 0 < len(self.verse.text) <= 2 * self.copied

    @property
    def score(self) -> float | None:
        """Quality from 0 to 1, which orders poems: `verse.score`, lowered by copying.

        A poem without a passage from the training poems keeps its score; a copy gets 0. The rules
        do not apply to a poem with the line lengths of a tune: None.
        """
        score, length = self.verse.score, len(self.verse.text)
        if score is None or (self.verse.form is None and self.style is not None):
            return None
        return score * (1 - self.copied / length) if length else 0.0


def judge(
    sources: Mapping[Name, Sequence[str]], train: Sequence[Poem]
) -> dict[Name, list[JudgedPoem]]:
    """Judge the texts of several sources, all at once: to look up copies takes long to prepare.

    Args:
        sources: name → texts.
        train: the training poems, in which copied passages are looked up.
    """
    texts = [text for each in sources.values() for text in each]
    styles = _styles_by_shape(train)
    copied = longest_copies(texts, [poem["content"] for poem in train]).tolist()
    recurring = lines_that_recur(texts, train)
    judged = iter(
        JudgedPoem(Verse.of(text), styles.get(_shape(text)), length, tuple(lines))
        for text, length, lines in zip(texts, copied, recurring, strict=True)
    )
    return {name: [next(judged) for _ in each] for name, each in sources.items()}


class Corpus(NamedTuple):
    """Counts of the training poems, with which written poems are compared.

    Attributes:
        parallelism: of the middle couplets.
        reader: counts n-grams.
    """

    parallelism: Parallelism
    reader: Reader

    @classmethod
    def of(
        cls, poems: Iterable[Poem], tokens: TokenArrays, tokenizer: CharTokenizer, order: int
    ) -> Self:
        """Count in the training poems, which are also given as tokens.

        Args:
            poems: the training poems.
            tokens: the same, encoded.
            tokenizer: gave the tokens their ids.
            order: length of the longest n-gram.
        """
        parallel = couplets(poem["content"] for poem in poems)["middle"]
        return cls(Parallelism(parallel), counting_reader(tokens, tokenizer, order))


def verse_figures(poems: Sequence[JudgedPoem], corpus: Corpus) -> dict[str, Any]:
    """Compute all measures over N poems; docs/evaluation.md defines each.

    Most are shares from 0 to 1. A measure of regular poems, or of poems with a score, is None if
    there are none.

    Args:
        poems: the poems.
        corpus: the training poems.
    """
    texts = [poem.verse.text for poem in poems]
    verses = [poem.verse for poem in poems]
    regular = [verse for verse in verses if verse.form]
    characters = "".join(line for verse in verses for line in verse.lines)
    styles = Counter(poem.style or "" for poem in poems)
    return {
        "poems": len(poems),
        "regular": len(regular) / len(poems),
        **_rules(regular),
        "repeated_characters": _mean(verse.repeated for verse in regular),
        "distinct_1": len(set(characters)) / max(1, len(characters)),
        "distinct_2": distinct_pairs(texts),
        "distinct_2_within": distinct_pairs_within(texts),
        **{f"commonest_{name}": share for name, share in commonest_shares(texts).items()},
        **_parallel(texts, corpus.parallelism),
        "reader_ngram": corpus.reader(texts),
        "known_shape": 1 - styles[""] / len(poems),
        **_overlap(poems),
        "mixed_scripts": fmean(len(scripts_of(verse.text)) > 1 for verse in verses),
        "unknown_characters": _mean(not readings(character) for character in characters),
        "score": held(poem.score for poem in poems),
        "by_form": {
            form.style: {"share": len(chosen) / len(poems), **_rules(chosen)}
            for form in FORMS.values()
            if (chosen := [verse for verse in regular if verse.form == form.style])
        },
        "styles": {
            style or "-": count / len(poems) for style, count in styles.most_common(_STYLES_SHOWN)
        },
    }


def examples(poems: Sequence[JudgedPoem]) -> dict[str, dict[str, Any]]:
    """Choose the poems with the highest, the median and the lowest score.

    Returns:
        `best`, `typical` and `worst` → text, score and style; the first of poems with equal
        scores. Empty if no poem has a score.
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
    """Draw `count` different poems, or all if there are fewer, and cut each to `length`."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(poems), min(count, len(poems)), replace=False)
    return [poems[i]["content"][:length] for i in chosen]


def _rules(regular: Sequence[Verse]) -> dict[str, float | None]:
    """Compute the shares of regular poems, or of their lines and couplets, that keep each rule."""
    return {
        "rhyme": held(verse.rhyme for verse in regular),
        "rhyme_level": held(verse.rhyme_level for verse in regular),
        "rhyme_distinct": held(verse.rhyme_distinct for verse in regular),
        "tones_alternate": held(answer for verse in regular for answer in verse.alternate),
        "tones_oppose": held(answer for verse in regular for answer in verse.oppose),
        "tones_adhere": held(answer for verse in regular for answer in verse.adhere),
        "regulated": held(verse.regulated for verse in regular),
    }


def _parallel(texts: Sequence[str], parallelism: Parallelism) -> dict[str, float | None]:
    """Compute how well the lines of couplets answer each other, in nats per character."""
    return {f"parallel_{place}": parallelism.nats(c) for place, c in couplets(texts).items()}


def _overlap(poems: Sequence[JudgedPoem]) -> dict[str, float | None]:
    """Compute how much of the poems stands in training poems."""
    return {
        "longest_copy": fmean(poem.copied for poem in poems),
        "lines_in_train": _mean(line for poem in poems for line in poem.recurring),
        "copies": fmean(poem.is_copy for poem in poems),
    }


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return fmean(values) if values else None


def _shape(text: str) -> tuple[int, ...]:
    """Return the length of each line."""
    return tuple(map(len, split_lines(text)))


def _styles_by_shape(train: Sequence[Poem]) -> dict[tuple[int, ...], str]:
    """Map the lengths of lines to the commonest style of the poems with such lines."""
    counts: dict[tuple[int, ...], Counter[str]] = {}
    for poem in train:
        counts.setdefault(_shape(poem["content"]), Counter())[poem["style"]] += 1
    return {shape: styles.most_common(1)[0][0] for shape, styles in counts.items()}
