import pytest

from nanopoet.evaluation.variety import commonest_shares, distinct_pairs, distinct_pairs_within
from tests.support.poems import QUIET_NIGHT, SPRING_VIEW, STORK_TOWER


def test_the_same_poem_again_shows_between_poems_and_not_within() -> None:
    once, again = [STORK_TOWER, SPRING_VIEW], [STORK_TOWER] * 10
    assert distinct_pairs(once) == distinct_pairs_within(once) == distinct_pairs_within(again) == 1
    assert distinct_pairs(again) == pytest.approx(1 / 10)


def test_the_commonest_twenty_are_counted() -> None:
    poems = [STORK_TOWER] * 3 + [QUIET_NIGHT]
    shares = commonest_shares(poems)
    assert shares == {"rhyme_characters": 1, "openings": 1, "last_lines": 1}
    other = [f"{chr(0x4E00 + i)}山，水{chr(0x5E00 + i)}。" for i in range(40)]
    assert commonest_shares(other) == {
        "rhyme_characters": 1 / 2,
        "openings": 1 / 2,
        "last_lines": 1 / 2,
    }


@pytest.mark.parametrize("texts", [[], [""], ["，。"]])
def test_without_a_character_there_is_no_share(texts: list[str]) -> None:
    assert distinct_pairs(texts) is distinct_pairs_within(texts) is None
    assert set(commonest_shares(texts).values()) == {None}
