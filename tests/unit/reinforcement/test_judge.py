import pytest

from nanopoet.prosody.forms import FORMS, regular_style
from nanopoet.prosody.rules import Verse
from nanopoet.reinforcement.judge import Fault, Judge
from nanopoet.tokens.tokenizer import (
    BEGIN_ID,
    CONTENT_END_ID,
    PADDING_ID,
    UNKNOWN_ID,
    CharTokenizer,
)
from tests.support.poems import (
    DREAM_SONG,
    MAPLE_BRIDGE,
    QUIET_NIGHT,
    SPRING_VIEW,
    STORK_TOWER,
    make_poems,
)

POEMS = [STORK_TOWER, QUIET_NIGHT, SPRING_VIEW, MAPLE_BRIDGE, DREAM_SONG]
TOKENIZER = CharTokenizer.from_characters(
    "".join(POEMS) + "".join(poem["content"] for poem in make_poems(60)) + "城𠮷、「涼風起天末秋"
)
SIZE = TOKENIZER.vocab_size
JUDGE = Judge(TOKENIZER)
SPECIAL_LINE = "涼風起天末，黃河入海流。欲窮千里目，更上一層樓。"
STYLES = [form.style for form in FORMS.values()]


def faults(text: str, style: str) -> list[Fault]:
    return JUDGE.faults([*TOKENIZER.encode(text), CONTENT_END_ID], style)


def _rules(text: str, style: str = "五言绝句") -> set[str]:
    return {fault.rule for fault in faults(text, style)}


@pytest.mark.parametrize("text", [STORK_TOWER, SPRING_VIEW])
def test_a_poem_that_keeps_every_rule_has_no_fault(text: str) -> None:
    assert (faults(text, regular_style(text) or "")) == []


def test_each_fault_is_at_the_character_that_makes_it() -> None:
    assert (faults(QUIET_NIGHT, "五言绝句")) == [
        Fault("repeat", 15),  # 明
        Fault("repeat", 16),  # 月
        Fault("repeat", 19),  # 頭
        Fault("tone", 9),  # 上: 是 and 上 are both oblique
        Fault("tone", 13),  # the first 頭: not in the order of the lines before
    ]


@pytest.mark.parametrize("text", POEMS)
@pytest.mark.parametrize("style", STYLES)
def test_the_rules_that_a_verse_keeps_are_those_without_a_fault(text: str, style: str) -> None:
    _agrees(text, style)


def test_this_holds_for_mixed_up_poems() -> None:
    """Halves of poems side by side break rules in most ways there are."""
    texts = [poem["content"] for poem in make_poems(60, seed=3)]
    for one, other in zip(texts, reversed(texts), strict=True):
        mixed = one[: len(one) // 2] + other[len(other) // 2 :]
        for style in STYLES:
            _agrees(mixed, style)


def _agrees(text: str, style: str) -> None:
    verse, found = Verse.of(text), faults(text, style)
    broken = {fault.rule for fault in found}
    assert ("form" in broken) == (verse.form != style)
    assert all(0 <= fault.place <= len(text) for fault in found)
    if verse.form == style:
        assert ("rhyme" in broken) == (verse.rhyme is False)
        assert ("rhyme_level" in broken) == (verse.rhyme_level is False)
        assert ("rhyme_distinct" in broken) == (not verse.rhyme_distinct)
        assert ("tone" in broken) == (verse.regulated is False) or "unknown" in broken
        assert (verse.rhyme is None or verse.regulated is None) == ("unknown" in broken)
        repeated = sum(fault.rule == "repeat" for fault in found) / len("".join(verse.lines))
        assert repeated == pytest.approx(verse.repeated)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("白日依山盡，黃河入海流。", 12),  # it ends too early
        ("白日依山盡，黃河入。", 9),  # a mark too early
        ("白日依山盡黃河入海流", 5),  # no mark
        (STORK_TOWER + "白", 24),  # it goes on
        ("", 0),
    ],
)
def test_the_form_breaks_where_the_poem_leaves_it(text: str, place: int) -> None:
    assert [*faults(text, "五言绝句")][-1] == Fault("form", place)


def test_behind_the_broken_form_nothing_is_judged() -> None:
    assert [*faults("白日依山盡，白日。白日白日白日", "五言绝句")] == [
        Fault("form", 8),
        Fault("repeat", 6),
        Fault("repeat", 7),
        Fault("tone", 7),
    ]


@pytest.mark.parametrize("text", POEMS)
def test_where_no_form_is_asked_for_no_rule_applies(text: str) -> None:
    assert [*JUDGE.breaches([*TOKENIZER.encode(text), CONTENT_END_ID], "")] == []


def test_the_second_line_decides_on_which_tone_a_poem_rhymes() -> None:
    oblique = "白日依山盡，黃河入海月。欲窮千里目，更上一層"
    assert Fault("rhyme_level", 10) in faults(oblique + "月。", "五言绝句")
    assert "rhyme" in _rules(oblique + "樓。")
    assert "rhyme_level" not in _rules(STORK_TOWER)


def test_a_cut_poem_has_not_ended_too_early() -> None:
    assert JUDGE.faults(TOKENIZER.encode(STORK_TOWER[:9]), "五言绝句") == []


@pytest.mark.parametrize("token", [BEGIN_ID, PADDING_ID])
def test_a_special_token_inside_a_poem_breaks_the_form(token: int) -> None:
    content = TOKENIZER.encode(STORK_TOWER)
    content[3] = token
    assert JUDGE.faults(content, "五言绝句") == [Fault("form", 3)]


def test_a_token_that_the_vocabulary_lacks_is_a_character() -> None:
    content = [*TOKENIZER.encode(STORK_TOWER), CONTENT_END_ID]
    content[2] = UNKNOWN_ID
    assert JUDGE.faults(content, "五言绝句") == []


@pytest.mark.parametrize("text", [STORK_TOWER, QUIET_NIGHT, SPECIAL_LINE, STORK_TOWER[:15]])
def test_a_token_breaks_the_rules_that_the_poem_with_it_breaks_there(text: str) -> None:
    """Every token of a small vocabulary is tried at every place."""
    tokenizer = CharTokenizer.from_characters(text + "城𠮷、「")
    judge, style = Judge(tokenizer), "五言绝句"
    content = [*tokenizer.encode(text), CONTENT_END_ID]
    claimed = [
        (rule, place, token)
        for rule, place, tokens in judge.breaches(content, style)
        for token in tokens.nonzero()[:, 0].tolist()
    ]
    tried = [
        (fault.rule, place, token)
        for place in range(len(text))
        for token in range(tokenizer.vocab_size)
        for fault in judge.faults([*content[:place], token, *content[place + 1 :]], style)
        if fault.place == place
    ]
    assert sorted(set(claimed)) == sorted(set(tried) | {c for c in claimed if c[1] == len(text)})
    assert {rule for rule, _, _ in claimed} >= {"form", "tone", "rhyme_level", "repeat", "unknown"}


def test_a_character_without_a_reading_is_named_where_it_is_judged() -> None:
    assert Fault("unknown", 22) in [*faults(STORK_TOWER.replace("樓", "𠮷"), "五言绝句")]
    assert Fault("unknown", 1) in [*faults(STORK_TOWER.replace("日", "𠮷"), "五言绝句")]
    assert _rules(STORK_TOWER.replace("依", "𠮷")) == set()


def test_a_rhyme_that_comes_again_is_a_fault_of_its_own() -> None:
    assert _rules(STORK_TOWER.replace("樓", "流")) == {"rhyme_distinct", "repeat"}
    assert Fault("rhyme_distinct", 22) in [*faults(STORK_TOWER.replace("盡", "樓"), "五言绝句")]
    assert _rules(STORK_TOWER.replace("盡", "秋")) == set()  # the first line may rhyme
