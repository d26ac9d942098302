import pytest

from nanopoet.prosody.forms import (
    FORMS,
    can_become,
    regular_style,
    split_lines,
    style_of,
    verse_form,
)
from tests.support.poems import DREAM_SONG, MAPLE_BRIDGE, QUIET_NIGHT, SPRING_VIEW


def _poem(lines: int, length: int) -> str:
    return "，".join(["春" * length] * lines) + "。"


def test_there_are_four_forms_of_different_sizes() -> None:
    assert [form.style for form in FORMS.values()] == [
        "五言绝句",
        "七言绝句",
        "五言律诗",
        "七言律诗",
    ]
    assert {(form.lines, form.length) for form in FORMS.values()} == {
        (4, 5),
        (4, 7),
        (8, 5),
        (8, 7),
    }


@pytest.mark.parametrize("short", FORMS)
def test_a_poem_of_the_right_size_has_the_form(short: str) -> None:
    style, lines, length = FORMS[short]
    assert style_of(short) == style
    assert regular_style(_poem(lines, length)) == style
    for other in ((lines - 1, length), (lines + 1, length), (lines, length + 1)):
        assert regular_style(_poem(*other)) is None


@pytest.mark.parametrize(
    ("text", "style"),
    [
        (QUIET_NIGHT, "五言绝句"),
        (MAPLE_BRIDGE, "七言绝句"),
        (SPRING_VIEW, "五言律诗"),
        (DREAM_SONG, None),
    ],
)
def test_famous_poems_have_their_forms(text: str, style: str | None) -> None:
    assert regular_style(text) == style


@pytest.mark.parametrize("text", ["", "，。", QUIET_NIGHT.replace("疑是", "疑")])
def test_a_text_of_another_shape_has_none(text: str) -> None:
    assert regular_style(text) is None


@pytest.mark.parametrize(
    ("style", "form"), [("诗经", "诗经"), ("水調歌頭", "词等"), ("五言绝句", "词等"), ("", "词等")]
)
def test_a_poem_without_a_regular_form_goes_by_its_style(style: str, form: str) -> None:
    assert verse_form(DREAM_SONG, style) == form
    assert verse_form(QUIET_NIGHT, style) == "五言绝句"


def test_lines_end_at_either_mark() -> None:
    assert split_lines("春，夏。，秋") == ("春", "夏", "秋")
    assert split_lines("。") == ()


@pytest.mark.parametrize("short", FORMS)
def test_every_beginning_of_a_poem_can_become_it(short: str) -> None:
    _, lines, length = FORMS[short]
    poem = _poem(lines, length)
    assert all(can_become(poem[:end], short) for end in range(len(poem) + 1))
    assert not can_become(poem + "春", short)
    assert not can_become("春" * (length + 1), short)
    assert not can_become("春" * (length - 1) + "，", short)
