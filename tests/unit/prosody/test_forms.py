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


ENDS = ["？", "！", "；", "：", "…", "……", "——", ",", ".", "?", "!", ";", "\n", "\r\n", "\u2028"]
PAUSED = ["、", " ", "\u3000", "/", "·", "　　", "\t"]


@pytest.mark.parametrize("end", [*ENDS, *PAUSED, "。」", "？”", "》\n", " \n", "，\n"])
@pytest.mark.parametrize("text", [QUIET_NIGHT, MAPLE_BRIDGE, SPRING_VIEW])
def test_lines_end_where_a_reader_sees_an_end(text: str, end: str) -> None:
    lines = split_lines(text)
    for typed in (end.join(lines) + end, end.join(lines), f"「{end.join(lines)}{end}」"):
        assert split_lines(typed) == lines
        assert regular_style(typed) == regular_style(text)


def test_marks_of_several_kinds_end_the_lines_of_one_poem() -> None:
    typed = "床前明月光,\n疑是地上霜;\n\n「舉頭望明月？」 \n《低頭》思故鄉...\n"
    assert split_lines(typed) == split_lines(QUIET_NIGHT)


def test_a_pause_inside_a_line_ends_none() -> None:
    assert split_lines("念去去、千里煙波，暮靄沉沉楚天闊。") == ("念去去千里煙波", "暮靄沉沉楚天闊")
    assert regular_style("春、眠不覺曉，處處聞啼鳥，夜來風雨聲，花落知多少。") == "五言绝句"


def test_an_unreadable_character_counts_in_its_line() -> None:
    assert regular_style(QUIET_NIGHT.replace("霜", "□")) == "五言绝句"


@pytest.mark.parametrize(
    "ends", [*((end, end) for end in ENDS + PAUSED), ("、", "，"), ("，", "。 ")]
)
@pytest.mark.parametrize("poem", [QUIET_NIGHT, SPRING_VIEW])
def test_every_beginning_of_a_typed_poem_can_become_it(poem: str, ends: tuple[str, str]) -> None:
    form = {4: "五绝", 8: "五律"}[len(split_lines(poem))]
    typed = poem.replace("，", ends[0]).replace("。", ends[1])
    assert all(can_become(typed[:end], form) for end in range(len(typed) + 1))
    assert not can_become(typed + "春", form)
    assert not can_become(typed[1:], form)


@pytest.mark.parametrize("end", [*ENDS, "。」", "。\n"])
def test_a_typed_beginning_can_become_a_poem(end: str) -> None:
    beginning = f"床前明月光{end}疑是地上霜{end}"
    assert can_become(beginning, "五绝")
    assert can_become(beginning + "舉", "五绝")
    assert not can_become(f"床前明月{end}", "五绝")
