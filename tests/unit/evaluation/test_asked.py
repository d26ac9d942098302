import pytest

from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.asked import asked_figures
from nanopoet.evaluation.verse import Corpus, judge
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.poems import QUIET_NIGHT, SPRING_VIEW, STORK_TOWER

TRAIN = [Poem(content=SPRING_VIEW, title="", author="", style="五言律诗")]
TOKENIZER = CharTokenizer(TRAIN)
CORPUS = Corpus.of(TRAIN, encode_poems(TRAIN, TOKENIZER, separate=True), TOKENIZER, order=2)


def test_a_form_counts_if_it_is_the_one_that_was_asked_for() -> None:
    written = {"五言绝句": [STORK_TOWER, QUIET_NIGHT], "五言律诗": [STORK_TOWER, "春。"]}
    figures = asked_figures(judge(written, TRAIN), CORPUS)
    assert figures["五言绝句"]["form"] == 1
    assert figures["五言绝句"]["regulated"] == 1 / 2
    assert figures["五言律诗"]["form"] == 0
    assert figures["五言律诗"]["regulated"] == 1  # of those in a regular form
    assert figures["mean"]["form"] == 1 / 2
    assert figures["mean"]["regulated"] == pytest.approx(3 / 4)
    assert "by_form" not in figures["mean"]


def test_a_form_without_poems_is_left_out() -> None:
    figures = asked_figures(judge({"五言绝句": [STORK_TOWER], "五言律诗": []}, TRAIN), CORPUS)
    assert list(figures) == ["五言绝句", "mean"]
    assert figures["mean"] == figures["五言绝句"]
    assert asked_figures({}, CORPUS) == {"mean": {}}
