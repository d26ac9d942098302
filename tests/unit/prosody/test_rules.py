import pytest

from nanopoet.prosody.rules import Verse, alternates, is_special, share_a_group
from tests.support.poems import DREAM_SONG, MAPLE_BRIDGE, QUIET_NIGHT, SPRING_VIEW, STORK_TOWER


def test_the_stork_tower_keeps_every_rule() -> None:
    verse = Verse.of(STORK_TOWER)
    assert verse.form == "五言绝句"
    assert verse.lines == ("白日依山盡", "黃河入海流", "欲窮千里目", "更上一層樓")
    assert verse.rhyme is verse.rhyme_distinct is verse.regulated is True
    assert verse.alternate == (True,) * 4
    assert verse.oppose == (True, True)
    assert verse.adhere == (True,)
    assert verse.repeated == 0


def test_spring_view_is_regulated_and_its_four_rhymes_are_one_group() -> None:
    verse = Verse.of(SPRING_VIEW)
    assert verse.form == "五言律诗"
    assert verse.rhyme is verse.rhyme_distinct is verse.regulated is True
    assert verse.oppose == (True,) * 4
    assert verse.adhere == (True,) * 3
    assert verse.repeated == 0


def test_quiet_night_rhymes_but_is_in_the_old_style() -> None:
    """霜 and 鄉 rhyme, but 是 and 上 are both oblique, 頭 and 明 both level."""
    verse = Verse.of(QUIET_NIGHT)
    assert verse.form == "五言绝句"
    assert verse.rhyme is True
    assert verse.alternate == (True, False, False, True)
    assert verse.oppose == (True, False)  # 前 and 是 differ, 頭 and 頭 cannot
    assert verse.adhere == (False,)
    assert verse.regulated is False
    assert verse.repeated == pytest.approx(3 / 20)  # 明, 月, 頭 a second time


def test_a_song_lyric_has_no_regular_form_and_no_rule_is_asked() -> None:
    verse = Verse.of(DREAM_SONG)
    assert [len(line) for line in verse.lines] == [6, 6, 5, 6, 2, 2, 6]
    assert verse.form is None
    assert verse.rhyme is verse.regulated is None
    assert verse.alternate == verse.oppose == verse.adhere == ()
    assert verse.score == 0


def test_a_character_without_a_reading_is_not_guessed() -> None:
    """The table lacks 啼, so neither its line nor the whole poem has an answer."""
    verse = Verse.of(MAPLE_BRIDGE)
    assert verse.form == "七言绝句"
    assert verse.alternate == (None, True, True, True)
    assert verse.regulated is None
    assert verse.rhyme is True
    assert verse.score is not None
    unknown = Verse.of(MAPLE_BRIDGE.replace("眠", "啼"))
    assert unknown.rhyme is None
    assert unknown.score is None


@pytest.mark.parametrize(
    ("broken", "rule", "expected"),
    [
        (STORK_TOWER.replace("樓", "城"), "rhyme", False),  # 流 尤, 城 庚
        (STORK_TOWER.replace("樓", "流"), "rhyme_distinct", False),
        (STORK_TOWER.replace("盡", "樓"), "rhyme_distinct", False),
        (STORK_TOWER.replace("依山", "依海"), "alternate", (False, True, True, True)),
        (STORK_TOWER.replace("黃河入海", "黃月入川"), "oppose", (False, True)),
        (STORK_TOWER.replace("欲窮千里", "欲見千里"), "adhere", (False,)),
        (STORK_TOWER.replace("更上", "更登"), "regulated", False),
        (STORK_TOWER.replace("一層", "一百層"), "form", None),
        (STORK_TOWER.replace("更上一層樓。", ""), "form", None),
    ],
)
def test_a_broken_poem_breaks_the_rule(broken: str, rule: str, expected: object) -> None:
    assert getattr(Verse.of(broken), rule) == expected
    score = Verse.of(broken).score
    assert score is not None
    assert score < 1 == Verse.of(STORK_TOWER).score


@pytest.mark.parametrize(
    ("end", "expected"), [("流", True), ("看", True), ("月", False), ("𠮷", None)]
)
def test_the_end_of_the_second_line_tells_the_tone_of_the_rhymes(
    end: str, expected: bool | None
) -> None:
    assert Verse.of(STORK_TOWER.replace("流", end)).rhyme_level is expected


def test_the_first_line_may_rhyme() -> None:
    rhyming = Verse.of(STORK_TOWER.replace("盡", "秋"))
    assert rhyming.rhyme is rhyming.rhyme_distinct is True


def test_a_character_has_one_reading_in_a_poem() -> None:
    """看 is level or oblique. 對 needs one tone and 粘 the other, so only one of them can hold."""
    verse = Verse.of("白日依山盡，黃看入海流。欲上千山目，更登一夜樓。")
    assert verse.alternate == (True,) * 4
    assert verse.oppose == (True, True)
    assert verse.adhere == (True,)
    assert verse.regulated is False


def test_simplified_and_traditional_characters_read_the_same() -> None:
    simplified = Verse.of("国破山河在，城春草木深。感时花溅泪，恨别鸟惊心。")
    traditional = Verse.of("國破山河在，城春草木深。感時花濺淚，恨別鳥驚心。")
    assert simplified.alternate == traditional.alternate == (True,) * 4
    assert simplified.regulated is traditional.regulated is True


def test_the_special_line_of_tradition_is_allowed() -> None:
    """涼風起天末 has two level tones where tones should alternate, and is regular (杜甫)."""
    assert is_special("涼風起天末")
    assert alternates("涼風起天末") is True
    assert alternates("涼風起天霜") is False
    assert alternates("正是江南好風景") is True


@pytest.mark.parametrize(("characters", "expected"), [("", None), ("光", True), ("𠮷", None)])
def test_rhymes_of_few_characters(characters: str, expected: bool | None) -> None:
    assert share_a_group(characters) is expected


@pytest.mark.parametrize("text", ["", "，。", "春", "BPUAaSsTtCc", "𠮷𠮷。", "春\n眠，不"])
def test_any_text_is_a_poem_without_form(text: str) -> None:
    verse = Verse.of(text)
    assert verse.form is None
    assert 0 <= verse.repeated < 1
