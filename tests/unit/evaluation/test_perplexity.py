"""Perplexity in one wording."""

import math

import pytest

from nanopoet.evaluation.perplexity import meaning, meaning_in_chinese, perplexity


@pytest.mark.parametrize(("count", "text"), [(1, "1"), (99.6, "100"), (11868, "11,868")])
def test_a_loss_is_said_as_a_number_of_characters(count: float, text: str) -> None:
    nats = math.log(count)
    assert perplexity(nats) == pytest.approx(count)
    expected = f"perplexity {text}: as unsure as among {text} equally likely characters"
    assert meaning(nats) == expected
    assert meaning_in_chinese(nats) == f"困惑度 {text}：好比在 {text} 个同样可能的字之间犹豫"
