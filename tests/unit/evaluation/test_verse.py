import pytest

from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.verse import Corpus, draw_texts, examples, judge, verse_figures
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.poems import DREAM_SONG, QUIET_NIGHT, SPRING_VIEW, STORK_TOWER


def _poem(content: str, style: str = "") -> Poem:
    return Poem(content=content, title="", author="", style=style)


TRAIN = [
    _poem(STORK_TOWER, "五言绝句"),
    _poem("紅豆生南國，春來發幾枝。願君多采擷，此物最相思。", "五言绝句"),
    _poem(DREAM_SONG.replace("海棠", "梨花"), "如夢令"),
]


TOKENIZER = CharTokenizer(TRAIN)
CORPUS = Corpus.of(TRAIN, encode_poems(TRAIN, TOKENIZER, separate=True), TOKENIZER, order=2)


def test_what_is_new_and_what_is_not() -> None:
    half = "白日依山盡，黃河入海流。春眠不覺曉，處處聞啼鳥。"
    texts = [STORK_TOWER, SPRING_VIEW, DREAM_SONG, half]
    copy, spring, song, mixed = judge({"x": texts}, TRAIN)["x"]
    assert copy.copied == len(STORK_TOWER)
    assert copy.is_copy
    assert copy.score == 0
    assert spring.copied == 1  # no two characters in a row
    assert not spring.is_copy
    assert spring.score == pytest.approx(1 - 1 / len(SPRING_VIEW))
    assert song.style == "如夢令"
    assert song.score is None  # line lengths of a tune: the rules say nothing
    assert song.recurring == (True, True, True, False, True, True, True)
    assert mixed.recurring == (True, True, False, False)
    assert mixed.is_copy


def test_figures_of_poems_that_can_be_counted_by_hand() -> None:
    texts = [STORK_TOWER, QUIET_NIGHT, SPRING_VIEW, DREAM_SONG]
    figures = verse_figures(judge({"x": texts}, TRAIN)["x"], CORPUS)
    assert figures["poems"] == 4
    assert figures["regular"] == 3 / 4
    assert figures["rhyme"] == figures["rhyme_distinct"] == 1
    assert figures["regulated"] == pytest.approx(2 / 3)
    assert figures["tones_alternate"] == pytest.approx(14 / 16)
    assert figures["tones_oppose"] == pytest.approx(7 / 8)
    assert figures["tones_adhere"] == pytest.approx(4 / 5)
    assert figures["repeated_characters"] == pytest.approx(3 / 20 / 3)
    assert figures["copies"] == 2 / 4  # the first, and the song but for two characters
    assert figures["lines_in_train"] == pytest.approx((4 + 6) / (4 + 4 + 8 + 7))
    assert figures["known_shape"] == 3 / 4  # nothing in train has eight lines
    assert figures["by_form"]["五言律诗"]["share"] == 1 / 4
    assert figures["styles"] == {"五言绝句": 1 / 2, "-": 1 / 4, "如夢令": 1 / 4}


def test_distinct_characters_and_pairs() -> None:
    figures = verse_figures(judge({"x": ["春春春，春夏。", "春夏。"]}, TRAIN)["x"], CORPUS)
    assert figures["distinct_1"] == pytest.approx(2 / 7)
    assert figures["distinct_2"] == pytest.approx(2 / 4)  # 春春 twice, 春夏 twice
    assert figures["rhyme"] is None
    assert figures["repeated_characters"] is None
    assert figures["regular"] == 0


def test_unknown_characters_are_counted() -> None:
    figures = verse_figures(judge({"x": ["春𠮷。", ""]}, TRAIN)["x"], CORPUS)
    assert figures["unknown_characters"] == 1 / 2


@pytest.mark.parametrize(
    "ends", [("？", "；"), ("\n", "\n"), (", ", ". "), ("！」", "……"), ("、", "。")]
)
def test_typed_marks_change_no_figure(ends: tuple[str, str]) -> None:
    def typed(text: str) -> str:
        return text.replace("，", ends[0]).replace("。", ends[1])

    texts = [STORK_TOWER, QUIET_NIGHT, SPRING_VIEW]
    train = [_poem(typed(poem["content"]), poem["style"]) for poem in TRAIN[:2]]
    figures = verse_figures(judge({"x": texts}, TRAIN[:2])["x"], CORPUS)
    found = verse_figures(judge({"x": list(map(typed, texts))}, train)["x"], CORPUS)
    with_marks = {"longest_copy", "score", "reader_ngram"}  # marks count in these as characters
    assert with_marks < set(found)
    assert {name for name in found if found[name] != figures[name]} <= with_marks


def test_poems_that_mix_scripts_are_counted() -> None:
    texts = [QUIET_NIGHT, QUIET_NIGHT.replace("舉頭", "举头"), "山水。", "举头。"]
    assert verse_figures(judge({"x": texts}, TRAIN)["x"], CORPUS)["mixed_scripts"] == 1 / 4


def test_sources_do_not_mix() -> None:
    judged = judge({"a": [STORK_TOWER], "b": [], "c": [QUIET_NIGHT, ""]}, TRAIN)
    assert [[p.verse.text for p in poems] for poems in judged.values()] == [
        [STORK_TOWER],
        [],
        [QUIET_NIGHT, ""],
    ]


def test_examples_are_the_extremes_and_the_middle() -> None:
    chosen = examples(judge({"x": ["春。", SPRING_VIEW, DREAM_SONG, QUIET_NIGHT]}, TRAIN)["x"])
    assert [each["text"] for each in chosen.values()] == [SPRING_VIEW, QUIET_NIGHT, "春。"]
    assert list(chosen) == ["best", "typical", "worst"]
    assert chosen["best"]["score"] > chosen["typical"]["score"] > chosen["worst"]["score"] == 0


def test_no_example_where_no_poem_has_a_score() -> None:
    assert examples(judge({"x": [DREAM_SONG]}, TRAIN)["x"]) == {}


def test_texts_are_drawn_once_each_and_cut() -> None:
    poems = [_poem(c) for c in "春夏秋冬"]
    assert sorted(draw_texts(poems, 9, 5, seed=1)) == sorted("春夏秋冬")
    assert draw_texts(poems, 2, 5, seed=1) == draw_texts(poems, 2, 5, seed=1)
    assert draw_texts([_poem(STORK_TOWER)], 1, 7, seed=0) == [STORK_TOWER[:7]]
