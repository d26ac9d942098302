import pytest

from nanopoet.corpus.collection import in_script
from nanopoet.corpus.poems import Poem
from nanopoet.corpus.text_counts import TextCounts
from tests.support.poems import QUIET_NIGHT


def _counts(*contents: str) -> TextCounts:
    counts = TextCounts()
    poems = [Poem(content=content, title="x1", author="", style="") for content in contents]
    assert list(counts.watch(poems)) == poems
    return counts


def test_marks_are_counted_with_names_that_show() -> None:
    counts = _counts("春？\n夏？」", "秋□\u3000\ufeff", "𠮷〇々")
    marks = {"？": 2, "U+000A": 1, "」": 1, "□": 1, "U+3000": 1, "U+FEFF": 1}
    assert counts.figures()["marks"] == marks
    assert list(counts.warnings()) == []


def test_scripts_are_counted() -> None:
    counts = _counts("山。", "風。", "风。", "風风。", "山水。")
    scripts = {"traditional": 1, "simplified": 1, "mixed": 1, "either": 2}
    assert counts.figures()["scripts"] == scripts


@pytest.mark.parametrize("content", ["床前明月光疑是地上霜", "「床前明月光疑是地上霜」", "春" * 8])
def test_a_poem_without_line_ends_is_warned_of(content: str) -> None:
    [warning] = _counts(content, QUIET_NIGHT, "床前明月光").warnings()
    assert warning.startswith("1 of 3 poems have no mark that ends a line")


@pytest.mark.parametrize("other", ["x", "1", "*", "①", "é", "の", "&"])
def test_characters_without_a_meaning_are_warned_of(other: str) -> None:
    [warning] = _counts(QUIET_NIGHT + other * 2, QUIET_NIGHT).warnings()
    assert f"({other} 2)" in warning


def test_a_corpus_in_one_script_keeps_its_styles() -> None:
    poem = Poem(content="春風", title="風", author="蘇軾", style="水調歌頭")
    [simplified] = in_script([poem], "simplified")
    assert simplified == Poem(content="春风", title="风", author="苏轼", style="水調歌頭")
    assert list(in_script([simplified], "traditional")) == [poem]


def test_a_short_title_is_in_the_script_of_its_poem() -> None:
    poem = Poem(content="雨后千里\n归来。", title="雨后", author="", style="")
    [traditional] = in_script([poem], "traditional")
    assert (traditional["content"], traditional["title"]) == ("雨後千里\n歸來。", "雨後")
    poem = Poem(content="皇后歸來。", title="皇后", author="后", style="")
    assert list(in_script([poem], "traditional")) == [poem]
