"""Each part of a request: what it means."""

from typing import Any

import pytest

from nanopoet.tokens.tokenizer import BEGIN_ID, CONTENT_END_ID
from nanopoet.writing.refused import RefusedError
from nanopoet.writing.request import Request
from nanopoet.writing.resolve import Plan
from tests.support.poems import QUIET_NIGHT as QUIET
from tests.support.poems import STORK_TOWER
from tests.support.requests import TOKENIZER, plan
from tests.support.writing import TUNE_POEMS


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
    assert tuple(map(str, found.notes)) == ("title = 静夜思 was understood as 靜夜思",)
    assert found.plain
    assert not plan(with_fields=True, form="五绝", acrostic="山水月光").plain


def test_a_request_without_a_form_has_no_predicate() -> None:
    found = plan(with_fields=True, opening="风")
    assert found.predicate is None
    assert TOKENIZER.decode(found.opening) == "風"
    assert tuple(map(str, found.notes)) == ("opening = 风 was understood as 風",)


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("明月？", "明月。"),
        ("明月:疑是!", "明月，疑是。"),
        ("明月\n疑是；\n", "明月，疑是。"),
        ("明月，", "明月，"),
    ],
)
def test_a_mark_that_the_vocabulary_lacks_becomes_one_that_it_has(
    given: str, understood: str
) -> None:
    found = plan(with_fields=True, opening=given)
    assert TOKENIZER.decode(found.opening) == understood
    assert len(found.notes) == ("？" in given or "!" in given or "；" in given)


def test_a_mark_in_a_draft_is_kept_or_the_note_says_what_it_became() -> None:
    found = plan(draft="？？？？光！疑□地上霜。")
    assert tuple(map(str, found.notes)) == (
        "draft = ？？？？光！疑□地上霜。 was understood as ？？？？光。疑□地上霜。",
    )
    assert accepts(found, QUIET[:12].replace("，", "。"))
    assert not accepts(found, QUIET[:12])


def test_words_may_share_characters() -> None:
    found = plan(draft="？？？", keywords=["明月", "月光"])
    assert accepts(found, "明月光。")
    assert not accepts(found, "月光明。")


def test_an_author_with_two_spellings_is_taken_in_the_script_of_the_form() -> None:
    """The commonest without a form. The corpus has tunes in simplified characters."""
    for form, spelled in (("五绝", "陸游"), ("如梦令", "陆游"), ("", "陆游")):
        for name in ("陸游", "陆游", " 陆 游"):
            found = plan(with_fields=True, form=form, author=name)
            assert TOKENIZER.decode(found.prompt).startswith(f"BA{spelled}a")
            notes = [f"author = {''.join(name.split())} was understood as {spelled}"]
            assert [*map(str, found.notes)] == notes * ("".join(name.split()) != spelled)


def test_an_author_of_validation_poems_alone_is_unknown() -> None:
    """The catalogue is made of the training poems: the model has read nothing by others."""
    with pytest.raises(RefusedError, match="no training poem is by 杜牧: nearest are 杜甫"):
        plan(with_fields=True, author="杜牧")


@pytest.mark.parametrize(
    "values",
    [
        {"acrostic": "床 疑 舉 低", "form": " 五绝 "},
        {"rhyme_characters": "霜\u3000鄉", "form": "五绝", "rhyme": " 陽"},
        {"opening": "床前 明月光，\n 疑是", "form": "五绝"},
        {"keywords": ["明 月", " 故鄉 "], "form": "五绝"},
        {"draft": " ？？？？光，疑是地上霜。\n舉頭望明月，低頭思故鄉。\n"},
    ],
)
def test_spaces_are_left_out(values: dict[str, Any]) -> None:
    assert accepts(plan(**values), QUIET)
    assert (
        plan(with_fields=True, title="靜 夜\u3000思").prompt
        == plan(with_fields=True, title="靜夜思").prompt
    )
    assert Request.read({"draft": " \n "}) == Request()
