"""Requests at the limits of values, vocabularies and catalogues."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.poems import Poem
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing import keywords
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.refused import RefusedError
from nanopoet.writing.request import LONGEST, Request
from nanopoet.writing.resolve import resolve
from nanopoet.writing.write import word_costs, write_poems
from tests.support.requests import TOKENIZER, plan
from tests.support.writing import COMMON, peaked_model


def test_too_many_ways_to_place_words_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait while one request is looked at."""
    monkeypatch.setattr(keywords, "MOST_STATES", 20)
    plan(form="五绝", keywords=["明月"])
    with pytest.raises(RefusedError, match=r"明月、故鄉、山光 can be placed in too many ways"):
        plan(draft="？？？？？", keywords=["明月", "故鄉", "山光"])


def test_a_tune_without_known_rhymes_has_no_rules_to_keep() -> None:
    catalogue = Catalogue.of(
        [Poem(content=text, title="", author="", style="小令") for text in ("山，上。", "月，子。")]
        + [Poem(content="風，人。", title="", author="", style="小令")]
    )
    assert catalogue.tunes["小令"].shapes[0].shape.rhyming == ()
    resolve(Request.read({"form": "小令"}), TOKENIZER, catalogue)
    with pytest.raises(RefusedError, match="no lines of the tune 小令 are known to rhyme"):
        resolve(Request.read({"form": "小令", "keep_rules": True}), TOKENIZER, catalogue)


def test_a_vocabulary_without_marks_has_no_forms() -> None:
    tokenizer = CharTokenizer.from_characters(COMMON)
    with pytest.raises(RefusedError, match="no marks that end a line"):
        resolve(Request.read({"form": "五绝"}), tokenizer)


def test_a_name_with_a_new_line_hides_no_other() -> None:
    names = ("李\n白", "杜甫")
    catalogue = Catalogue.of(
        [Poem(content="光。", title="", author=name, style=name) for name in names for _ in "123"]
    )
    for values in ({"author": "杜甫"}, {"form": "杜甫"}):
        found = resolve(Request.read(values), TOKENIZER, catalogue)
        assert "杜甫" in TOKENIZER.decode(found.prompt)


def test_lines_may_end_in_new_lines_alone() -> None:
    tokenizer = CharTokenizer.from_characters(COMMON + "\n")
    [poem] = write_poems(peaked_model(tokenizer), tokenizer, None, Request(form="五绝"))
    assert [len(line) for line in poem.split("\n")] == [5, 5, 5, 5, 0]


@pytest.mark.parametrize("length", [7, 8, 9])
def test_a_word_may_be_longer_than_the_context_of_the_model(length: int) -> None:
    model, word = peaked_model(TOKENIZER, block_size=8), TOKENIZER.encode(COMMON[:length])
    ids = torch.tensor([0, 1, *word])[-9:]  # what 8 inputs predict, and the first input
    logits, _ = model(ids[None, :-1])
    known = cross_entropy(logits[0], ids[1:], reduction="none").tolist()[-length:]
    wanted = known[:1] * (length - len(known)) + known
    assert word_costs(model, [0, 1], word) == pytest.approx(wanted)


def test_spaces_and_new_lines_stay_out_of_names() -> None:
    assert Request(title=" 月\n夜 ", author="李\r\n白") == Request(title="月夜", author="李白")


@pytest.mark.parametrize(
    ("values", "chinese"),
    [
        ({"title": "山" * 101}, "题目太长：最多 100 个字"),
        ({"draft": "山" * 401}, "补字太长：最多 400 个字"),
        ({"keywords": ["山"] * 7}, "必含词语太多：最多 6 个"),
        ({"keywords": ["山" * 21]}, "必含词语太长：最多 20 个字"),
    ],
)
def test_what_the_page_can_make_too_long_is_refused_in_chinese_too(
    values: dict[str, Any], chinese: str
) -> None:
    with pytest.raises(RefusedError, match="is not allowed") as caught:
        Request.read(values)
    assert caught.value.chinese == chinese


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tone": "平"}, "'tone' is unknown: known are form"),
        ({"form": 1}, "form = 1 is not allowed: it must be a text"),
        ({"keywords": [""]}, "keywords = '' is not allowed"),
        ({"keywords": ["山", " \u3000\n"]}, "is not allowed: it must not be empty"),
        ({"opening": "山" * (LONGEST + 1)}, "is not allowed: it must have at most 300 characters"),
        ({"keywords": "山"}, r"keywords = '山' is not allowed: it must be a list \(words that"),
        ({"keywords": ["山"] * 9}, "is not allowed: it must have at most 6 parts"),
        ({"keep_rules": 1}, r"keep_rules = 1 is not allowed: it must be true or false \(rhyme"),
        ({"title": "\udcff"}, "is not allowed: it must be a text in UTF-8"),
        (b"{", "the request is not JSON"),
        (b"[]", "the request must be an object"),
    ],
)
def test_values_from_outside_are_checked(values: Any, message: str) -> None:
    with pytest.raises(NanopoetError, match=message):
        Request.read(values)
