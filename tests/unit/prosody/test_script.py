from collections.abc import Iterator

import pytest

from nanopoet.prosody.rules import Verse
from nanopoet.prosody.script import script_of, scripts_of, to_script
from tests.support.poems import MAPLE_BRIDGE, QUIET_NIGHT, SPRING_VIEW

POEMS = [QUIET_NIGHT, MAPLE_BRIDGE, SPRING_VIEW]


@pytest.mark.parametrize(
    ("characters", "script"),
    [
        ("風發國來黃卻夢門", "traditional"),
        ("风发国来黄却梦门", "simplified"),
        ("山水后後里云干斗。A□", None),
    ],
)
def test_characters_are_told_apart(characters: str, script: str | None) -> None:
    assert {script_of(character) for character in characters} == {script}


def test_a_text_has_one_script_both_or_either() -> None:
    assert scripts_of("山水。") == frozenset()
    assert scripts_of("春風") == {"traditional"}
    assert scripts_of("春风吹又生，風") == {"traditional", "simplified"}


@pytest.mark.parametrize("poem", POEMS)
def test_a_poem_is_converted_there_and_back(poem: str) -> None:
    simplified = to_script(poem, "simplified")
    assert "traditional" not in scripts_of(simplified)
    traditional = to_script(simplified, "traditional")
    assert scripts_of(traditional) == {"traditional"}
    assert to_script(traditional, "simplified") == simplified
    assert len(simplified) == len(poem)


@pytest.mark.parametrize("poem", POEMS)
def test_the_rules_of_verse_know_both_scripts(poem: str) -> None:
    verse, converted = Verse.of(poem), Verse.of(to_script(poem, "simplified"))
    assert verse.form
    rules = ("form", "rhyme", "alternate", "oppose", "adhere", "regulated")
    assert [getattr(verse, rule) for rule in rules] == [getattr(converted, rule) for rule in rules]


def _mixtures() -> Iterator[str]:
    for poem in POEMS:
        simplified = to_script(poem, "simplified")
        half = len(poem) // 2
        yield poem[:half] + simplified[half:]
        yield simplified[:half] + poem[half:]


@pytest.mark.parametrize("text", [*_mixtures(), "千里故里黄昏後", "皇后来漢宮", "云何不歸来"])
@pytest.mark.parametrize("script", ["traditional", "simplified"])
def test_a_mixture_loses_the_other_script(text: str, script: str) -> None:
    converted = to_script(text, script)  # type: ignore[arg-type]
    assert scripts_of(converted) <= {script}
    assert to_script(converted, script) == converted  # type: ignore[arg-type]


def test_what_is_right_in_a_traditional_text_stays() -> None:
    assert to_script("千里故里黄昏後", "traditional") == "千里故里黃昏後"
    assert to_script("皇后来漢宮", "traditional") == "皇后來漢宮"
