"""Learning from poems: authors, tunes, and their shapes, rhymes and marks."""

from pathlib import Path

import pytest

from nanopoet.common.errors import FileError
from nanopoet.corpus.poems import Poem
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.schemes import rhyme_scheme
from nanopoet.writing.shapes import Shape
from tests.support.writing import TUNE_POEMS


def poem(content: str, style: str = "", author: str = "") -> Poem:
    return Poem(content=content, title="", author=author, style=style)


CATALOGUE = Catalogue.of(
    [poem(content, "如梦令", "李清照") for content in TUNE_POEMS * 3]
    + [poem("光。", "如梦令"), poem("關關雎鳩，在河之洲。", "诗经", "诗经")]
    + [poem("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。", "五言绝句", "王之渙")] * 5
    + [poem("光。", "失调名")]
)


def test_it_counts_authors_the_commonest_first() -> None:
    assert list(CATALOGUE.authors.items()) == [("李清照", 12), ("王之渙", 5), ("诗经", 1)]
    assert CATALOGUE.script == "traditional"


def test_a_shape_is_attested_by_three_poems() -> None:
    assert list(CATALOGUE.tunes) == ["如梦令", "失调名"]
    tune = CATALOGUE.tunes["如梦令"]
    assert (tune.poems, tune.script) == (13, "simplified")
    marks = ("。", "。", "，", "。，", "。", "。", "。")
    assert tune.shapes == ((Shape((6, 6, 5, 6, 2, 2, 6), "aa-aaAa", marks), 0.9231),)
    assert CATALOGUE.tunes["失调名"].shapes == ()


NEW_LINES = Catalogue.of(
    [poem("白日依山盡，黃河入海流\n欲窮千里目，更上一層樓\n", "菩薩蠻")] * 3
    + [poem("白日\n依山\n", "小令")] * 3
    + [poem("，", "無字")] * 3
)
"""A catalogue of poems whose sentences end in new lines, and of poems without characters."""


@pytest.mark.parametrize("catalogue", [CATALOGUE, NEW_LINES])
def test_it_comes_back_from_its_file(tmp_path: Path, catalogue: Catalogue) -> None:
    catalogue.save(tmp_path / "catalogue.json")
    assert Catalogue.load(tmp_path / "catalogue.json") == catalogue


def test_marks_alone_are_no_shape() -> None:
    assert NEW_LINES.tunes["無字"].shapes == ()
    assert NEW_LINES.tunes["小令"].shapes[0].shape.marks == ("\n", "\n")


@pytest.mark.parametrize("text", ["{}", '{"authors": 1, "tunes": {}, "script": null}'])
def test_another_file_is_no_catalogue(tmp_path: Path, text: str) -> None:
    (tmp_path / "catalogue.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match="not a catalogue"):
        Catalogue.load(tmp_path / "catalogue.json")


def test_a_damaged_shape_is_refused(tmp_path: Path) -> None:
    CATALOGUE.save(tmp_path / "catalogue.json")
    text = (tmp_path / "catalogue.json").read_text(encoding="utf-8")
    for old, new in (
        ("aa-aaAa", "aa"),
        ("6 6 5 6 2 2 6", "6 6 5 6 0 2 6"),
        ("。 。 ，", "。"),
        ('"traditional"', '"klingon"'),
        ('"simplified"', "3"),
    ):
        assert old in text
        (tmp_path / "other.json").write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(FileError, match="not a catalogue"):
            Catalogue.load(tmp_path / "other.json")


def test_lines_rhyme_in_couplets() -> None:
    couplets = [["光", "霜", "東", "風"], ["山", "間", "樓", "流"], ["天", "年", "心", "林"]]
    assert rhyme_scheme(couplets) == "aabb"


def test_a_rhyme_by_chance_is_none() -> None:
    """Two of three poems are not enough, nor three of twenty."""
    assert rhyme_scheme([["光", "霜"], ["山", "間"], ["天", "心"]]) == "--"
    others = [["天", "心"], ["東", "樓"], ["月", "林"]] * 6
    assert rhyme_scheme([["光", "霜"], ["山", "間"], ["流", "秋"], *others]) == "--"
    assert rhyme_scheme([["光", "霜"], ["山", "間"], ["流", "秋"], *others[:3]]) == "aa"
