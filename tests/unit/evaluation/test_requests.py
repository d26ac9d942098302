"""Measures of requests, with writers and scores that are known."""

from collections.abc import Sequence

import numpy as np
import pytest

from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.requests import (
    asked_tunes,
    identify_authors,
    title_shares,
    write_for,
    write_forms,
)
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing.catalogue import Catalogue
from tests.support.poems import DREAM_SONG, QUIET_NIGHT, STORK_TOWER


def _poem(content: str, *, title: str = "", author: str = "", style: str = "") -> Poem:
    return Poem(content=content, title=title, author=author, style=style)


TOKENIZER = CharTokenizer(
    [
        _poem(QUIET_NIGHT, title="靜夜思", author="李白", style="五言绝句"),
        _poem(STORK_TOWER, author="王之渙", style="七言律诗"),
        _poem(DREAM_SONG, style="如梦令"),
    ]
)


def test_each_form_is_asked_for_by_its_style() -> None:
    """This writer repeats the request."""
    found = write_forms(
        lambda prompts, count: [TOKENIZER.decode(prompt) for prompt in prompts] * count,
        TOKENIZER,
        2,
    )
    assert found["五言绝句"] == ["BS五言绝句sC"] * 2
    assert list(found) == ["五言绝句", "七言绝句", "五言律诗", "七言律诗"]


def test_tunes_are_asked_for_and_people_are_measured_alike() -> None:
    train = [_poem("春，夏秋。", style="令")] * 3 + [_poem("春。", style="五言绝句")] * 9
    people = [_poem("秋，夏秋。", style="令"), _poem("秋。", style="令"), _poem("秋。", style="慢")]
    asked: list[str] = []

    def write(prompts: Sequence[Sequence[int]], count: int) -> list[str]:
        asked.extend(TOKENIZER.decode(prompt) for prompt in prompts)
        return ["冬，夏夏。", "冬。", "冬", "冬，夏夏。"][:count]

    assert asked_tunes(write, TOKENIZER, Catalogue.of(train), people, 4) == {
        "tunes": 1,
        "model": 0.5,
        "human": 0.5,
    }
    assert asked == ["BS令sC"]


def test_without_tunes_there_is_no_share() -> None:
    found = asked_tunes(lambda prompts, _: [""] * len(prompts), TOKENIZER, Catalogue.of([]), [], 4)
    assert found == {"tunes": 0, "model": None, "human": None}


def test_the_author_with_the_lowest_loss_is_named() -> None:
    """This model knows 李白, and takes all others for 杜甫."""
    poems = [_poem("月", author="李白")] * 3 + [_poem("日", author="王之渙")] * 2
    poems += [_poem("星", author="杜甫")]

    def score(claims: Sequence[Poem], given: Sequence[str]) -> np.ndarray:
        assert given == ("author",)
        right = {"月": "李白"}
        return np.array(
            [float(right.get(poem["content"], "杜甫") != poem["author"]) for poem in claims]
        )

    found = identify_authors(score, poems, most=2)
    assert found == {"poems": 5, "identified": pytest.approx(3 / 5), "commonest": 2 / 5}


def test_poems_without_authors_identify_nobody() -> None:
    found = identify_authors(lambda *_: np.zeros(0), [_poem("月")], most=2)
    assert found == {"poems": 0, "identified": None, "commonest": None}


def test_a_title_counts_if_one_of_its_characters_occurs() -> None:
    people = [_poem("月", title="夜月"), _poem("日", title="夜"), _poem("星")]
    assert title_shares(people, ["夜", "星", "星"]) == {"model": 1 / 2, "human": 1 / 2}


def test_requests_have_the_fields_of_people_s_poems() -> None:
    asked: list[str] = []

    def write(prompts: Sequence[Sequence[int]], count: int) -> list[str]:
        assert count == 1
        asked.extend(TOKENIZER.decode(prompt) for prompt in prompts)
        return [""] * len(prompts)

    poems = [_poem("月", title="思", author="李白", style="七言绝句"), _poem("月")]
    write_for(write, TOKENIZER, poems)
    assert asked == ["BA李白aS七言绝句sT思tC", "BC"]
