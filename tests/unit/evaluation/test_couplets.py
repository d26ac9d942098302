import pytest

from nanopoet.evaluation.couplets import Parallelism, couplets

ANSWERS = dict(zip("春山千朝日", "秋水萬暮月", strict=True))


def _poem(first: str) -> str:
    """Eight lines of five characters, of which each second line answers the first."""
    second = "".join(ANSWERS[character] for character in first)
    return f"{first}，{second}。" * 4


POEMS = [_poem("春山千朝日"), _poem("日春山千朝"), _poem("朝日春山千"), _poem("千朝日春山")]


def test_the_middle_couplets_of_eight_lines_are_found() -> None:
    lines = ["一一一一一", "二二二二二", "三三三三三", "四四四四四"]
    text = "，".join([*lines, *(line[::-1] for line in lines)])
    found = couplets([text, "春，夏。", ""])
    assert found["outer"] == [(lines[0], lines[1]), (lines[2], lines[3])]
    assert found["middle"] == [(lines[2], lines[3]), (lines[0], lines[1])]


@pytest.mark.parametrize("text", ["春，夏。" * 4, "春山千朝日，" * 4, "春山千朝日，" * 7 + "春。"])
def test_other_poems_have_no_couplets(text: str) -> None:
    assert couplets([text]) == {"middle": [], "outer": []}


def test_couplets_that_answer_score_above_shuffled_ones() -> None:
    counted = Parallelism(couplets(POEMS)["middle"])
    answering = counted.nats(couplets(POEMS[:2])["middle"][1:3])
    assert answering is not None
    assert answering > 1
    strangers = counted.nats([("春山千朝日", "月秋水萬暮"), ("日春山千朝", "秋水萬暮月")])
    assert strangers is not None
    assert strangers < 0 < answering


def test_equal_lines_everywhere_say_nothing() -> None:
    """Nothing is gained over the second line of the next couplet, which is the same."""
    counted = Parallelism(couplets(POEMS)["middle"])
    assert counted.nats([("春山千朝日", "秋水萬暮月")] * 3) == 0


def test_characters_that_were_never_counted_have_a_score() -> None:
    counted = Parallelism(couplets(POEMS)["middle"])
    assert counted.nats([("甲乙丙丁戊", "己庚辛壬癸"), ("子丑寅卯辰", "巳午未申酉")]) == 0


@pytest.mark.parametrize("tried", [[], [("春山千朝日", "秋水萬暮月")]])
def test_fewer_than_two_couplets_have_no_score(tried: list[tuple[str, str]]) -> None:
    assert Parallelism(couplets(POEMS)["middle"]).nats(tried) is None
    assert Parallelism([]).nats(couplets(POEMS)["middle"]) is None
