"""Each part of a request: what it means, and how it is refused in one sentence."""

from typing import Any

import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.poems import Poem
from nanopoet.tokens.tokenizer import BEGIN_ID, CONTENT_END_ID, CharTokenizer
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.request import LONGEST, Request
from nanopoet.writing.resolve import Plan, resolve
from tests.support.poems import QUIET_NIGHT as QUIET
from tests.support.poems import STORK_TOWER
from tests.support.writing import COMMON, TUNE_POEMS

TOKENIZER = CharTokenizer.from_characters(
    COMMON
    + "".join(TUNE_POEMS)
    + "李白杜甫靜夜思，。床前明疑是地霜舉頭低故五言絕句如梦令绝步"
    + STORK_TOWER
)
CATALOGUE = Catalogue.of(
    [Poem(content=text, title="", author="杜甫", style="如梦令") for text in TUNE_POEMS * 3]
    + [Poem(content="光。", title="", author="李白", style="失调名")]
    + [Poem(content="長風。", title="", author="李白", style="五言绝句")]
)


def plan(with_fields: bool = False, **values: Any) -> Plan:
    catalogue = CATALOGUE if with_fields else None
    return resolve(Request.read(values), TOKENIZER, catalogue)


def accepts(plan: Plan, text: str) -> bool:
    """Tell whether the predicate of a plan accepts a poem."""
    assert plan.predicate is not None
    state = plan.predicate.start()
    for token in [*TOKENIZER.encode(text), plan.end_id]:
        after = plan.predicate.advance(state, token)
        if after is None:
            return False
        state = after
    return plan.predicate.ended(state)


STILL = STORK_TOWER
"""A 五言绝句 that keeps the rules, which the other one does not."""


@pytest.mark.parametrize(
    ("values", "kept", "broken"),
    [
        ({"form": "五绝"}, QUIET, QUIET[:12]),
        ({"form": "五言絕句"}, QUIET, QUIET.replace("，", "")),
        ({"form": "五绝", "keep_rules": True}, STILL, QUIET),
        ({"keep_rules": True}, STILL, STILL.replace("樓", "流")),
        ({"form": "五绝", "opening": "床前明月光疑"}, QUIET, STILL),
        ({"form": "五绝", "rhyme": "陽"}, QUIET, STILL),
        ({"form": "五绝", "rhyme": "下平声七阳"}, QUIET, STILL),
        ({"form": "五绝", "rhyme_characters": "?鄉"}, QUIET, STILL),
        ({"form": "五绝", "rhyme_from": "霜乡光"}, QUIET, STILL),
        ({"acrostic": "床疑舉低"}, QUIET, STILL),
        ({"acrostic": "床？？？"}, QUIET, STILL),
        ({"form": "五绝", "keywords": ["故鄉", "明月"]}, QUIET, STILL),
        ({"draft": "？？？？光，疑□地上霜。"}, QUIET[:12], STILL[:12]),
        ({"form": "五绝", "draft": "？？？？光，疑是"}, QUIET, STILL),
        ({"draft": "月，？。"}, "月，山。", "山，月。"),
    ],
)
def test_a_poem_is_what_was_asked(values: dict[str, Any], kept: str, broken: str) -> None:
    found = plan(**values)
    assert accepts(found, kept)
    assert not accepts(found, broken)
    assert found.prompt == (BEGIN_ID,)


def test_a_tune_comes_in_its_shapes_and_rhymes() -> None:
    found = plan(with_fields=True, form="如夢令", keep_rules=True)
    assert accepts(found, TUNE_POEMS[1].replace("处", "步"))
    assert not accepts(found, TUNE_POEMS[1].replace("处", "溪"))
    assert not accepts(
        found, TUNE_POEMS[1].replace("处", "步").replace("路。", "路，")
    )  # a mark no training poem has
    assert accepts(plan(with_fields=True, form="如梦令"), TUNE_POEMS[0])
    assert found.end_id == CONTENT_END_ID
    assert TOKENIZER.decode(found.prompt) == "BS如梦令sC"


def test_fields_stand_in_the_prompt_in_the_corpus_own_spelling() -> None:
    found = plan(with_fields=True, form="五绝", author="李白", title="静夜思")
    assert TOKENIZER.decode(found.prompt) == "BA李白aS五言绝句sT靜夜思tC"
    assert tuple(map(str, found.notes)) == ("title = 静夜思 was understood as 靜夜思.",)
    assert found.plain
    assert not plan(with_fields=True, form="五绝", acrostic="山水月光").plain


def test_a_request_without_a_form_has_no_predicate() -> None:
    found = plan(with_fields=True, opening="风")
    assert found.predicate is None
    assert TOKENIZER.decode(found.opening) == "風"
    assert tuple(map(str, found.notes)) == ("opening = 风 was understood as 風.",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"author": "杜浦"}, "no training poem is by 杜浦: nearest are 杜甫"),
        ({"form": "如梦"}, "neither 五绝、七绝、五律、七律 nor a known tune: nearest are 如梦令"),
        ({"form": "失調名"}, "no line lengths that three training poems share: known are 如梦令"),
        ({"rhyme": "東山"}, "rhyme = 東山 is no group of the 平水韻: nearest are 上平聲一東"),
        (
            {"acrostic": "山水月", "form": "五绝"},
            "acrostic = 山水月 has 3 characters: give one for each line, 4",
        ),
        (
            {"rhyme_characters": "光霜鄉", "form": "五绝"},
            "has 3 characters: give one for each line that rhymes, 2",
        ),
        (
            {"form": "五绝", "keywords": ["山水月光天年"]},
            "is longer than a line: give at most 5 characters",
        ),
        (
            {"form": "五绝", "opening": "山水，"},
            "the opening does not fit: line 1 has 2 characters",
        ),
        ({"form": "五绝", "draft": "？" * 21}, "the draft does not fit: it goes on after line 4"),
        ({"form": "五绝", "opening": "，"}, "the mark ， stands at the beginning of line 1"),
        (
            {"form": "五绝", "opening": "月", "acrostic": "光？？？"},
            "月 by opening and 光 by acrostic",
        ),
        ({"form": "五绝", "rhyme_characters": "光東", "keep_rules": True}, "share no rhyme group"),
        (
            {"form": "五绝", "rhyme": "陽", "rhyme_characters": "？東"},
            "東 at the end of line 4 is not",
        ),
        (
            {"form": "五绝", "rhyme": "陽", "rhyme_from": "東"},
            "rhyme_from = 東 has none of 下平聲七陽",
        ),
        ({"form": "五绝", "keep_rules": True, "opening": QUIET[:12]}, "line 2 breaks the tones"),
        ({"keywords": ["龘"]}, "keywords = 龘 has 龘, which the training poems lack"),
        ({"draft": "？？，？。", "keep_rules": True}, "keep_rules is for regular forms and tunes"),
        ({"draft": "。"}, "the draft has no characters"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(NanopoetError) as caught:
        plan(with_fields=True, **values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [{"author": "李白"}, {"title": "月"}, {"form": "如梦令"}])
def test_a_pretrained_model_takes_no_fields(values: dict[str, Any]) -> None:
    with pytest.raises(NanopoetError, match=r"a pretrained model|a model without tunes"):
        plan(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tone": "平"}, "'tone' is unknown: known are form"),
        ({"form": 1}, "form = 1 is not allowed: input should be a valid string"),
        ({"keywords": [""]}, "keywords = '' is not allowed"),
        ({"opening": "山" * (LONGEST + 1)}, "is not allowed: string should have at most 300"),
        (b"{", "the request is not JSON"),
        (b"[]", "the request must be an object"),
    ],
)
def test_values_from_outside_are_checked(values: Any, message: str) -> None:
    with pytest.raises(NanopoetError, match=message):
        Request.read(values)
