import math

import numpy as np
import pytest

from nanopoet.evaluation.prediction import (
    TokenScores,
    calibration_bins,
    interval,
    nats_by_position,
    prediction_figures,
)
from nanopoet.tokens.tokenizer import CharTokenizer

TOKENIZER = CharTokenizer.from_characters("春眠不覺曉，。")
COMMA, STOP = TOKENIZER.encode("，。")
WORD = TOKENIZER.encode("春")[0]


def _scores(
    *poems: list[int], nats: list[float], ranks: list[int], confidence: list[float] | None = None
) -> TokenScores:
    targets = np.array([token for poem in poems for token in poem])
    offsets = np.cumsum([0, *map(len, poems)])
    sure = np.array(confidence or [0.5] * len(targets))
    return TokenScores(targets, offsets, np.array(nats), np.array(ranks), sure)


def test_figures_that_can_be_counted_by_hand() -> None:
    """Two poems, each with the BEGIN that ends it: its nats count, as a character it does not."""
    scores = _scores(
        [WORD, WORD, STOP, 0],
        [WORD, COMMA, 0],
        nats=[4, 6, 1, 1, 8, 2, 2],
        ranks=[0, 4, 0, 9, 5, 0, 0],
    )
    figures = prediction_figures(scores, TOKENIZER, ["甲", "乙"], [None, "near"], seed=0)
    assert figures["val_characters"] == 5
    assert figures["nats_per_character"] == pytest.approx(24 / 5)
    assert figures["bits_per_character"] == pytest.approx(24 / 5 / math.log(2))
    assert figures["perplexity"] == pytest.approx(math.exp(24 / 5))
    assert figures["nats_per_character_without_duplicate"] == pytest.approx(12 / 3)
    assert figures["nats_per_character_with_duplicate"] == pytest.approx(12 / 2)
    assert figures["nats_per_hanzi"] == pytest.approx((4 + 6 + 8) / 3)
    assert figures["top_1"] == pytest.approx(3 / 5)
    assert figures["top_5"] == pytest.approx(4 / 5)
    assert figures["nats_per_character_by_form"] == {"甲": 4.0, "乙": 6.0}
    assert figures["top_1_by_form"] == {"甲": pytest.approx(2 / 3), "乙": pytest.approx(1 / 2)}
    assert figures["calibration_error"] == pytest.approx(abs(0.5 - 3 / 5))
    assert figures["calibration"] == calibration_bins(scores)
    assert figures["nats_by_position"] == {}


def test_calibration_puts_predictions_with_their_like() -> None:
    scores = _scores(
        [WORD] * 5 + [0],
        nats=[1] * 6,
        ranks=[0, 1, 0, 0, 3, 0],
        confidence=[0.55, 0.52, 1.0, 0.95, 0.05, 0.99],
    )
    low, middle, high = calibration_bins(scores)
    assert low == pytest.approx({"confidence": 0.05, "accuracy": 0, "share": 0.2})
    assert middle == pytest.approx({"confidence": 0.535, "accuracy": 0.5, "share": 0.4})
    assert high == pytest.approx({"confidence": 0.975, "accuracy": 1, "share": 0.4})


def test_positions_of_regular_poems_alone() -> None:
    size = 4 * 6
    first, second = [float(i) for i in range(size)], [float(i + 2) for i in range(size)]
    scores = _scores(
        [WORD] * size + [0],
        [WORD] * 3 + [0],
        [WORD] * size + [0],
        nats=[*first, 99, 50, 50, 50, 50, *second, 99],
        ranks=[0] * (2 * size + 6),
    )
    found = nats_by_position(scores, ["五言绝句", "词等", "五言绝句"])
    assert list(found) == ["五言绝句"]
    assert found["五言绝句"] == [[6.0 * i + j + 1 for j in range(6)] for i in range(4)]


def test_the_interval_holds_the_mean_and_narrows_with_more_poems() -> None:
    rng = np.random.default_rng(0)

    def width(count: int) -> float:
        characters = rng.integers(20, 60, count)
        nats = characters * rng.normal(5, 0.5, count)
        low, high = interval(nats, characters, seed=1)
        assert low < nats.sum() / characters.sum() < high
        return high - low

    few, many = width(100), width(10_000)
    # A hundred times as many poems: a tenth of the width; 1.96 × 2 standard errors of 0.05.
    assert few / many == pytest.approx(10, rel=0.25)
    assert few == pytest.approx(0.2, rel=0.25)


def test_the_interval_follows_its_seed() -> None:
    nats, characters = np.arange(1.0, 50.0), np.full(49, 5)
    assert interval(nats, characters, seed=1) == interval(nats, characters, seed=1)
    assert interval(nats, characters, seed=1) != interval(nats, characters, seed=2)
