"""Perplexity: a loss as a number that one can imagine."""

import math


def perplexity(nats: float) -> float:
    """Return e to the power of a loss in nats per character."""
    return math.exp(nats)


def meaning(nats: float) -> str:
    """Say the perplexity of a loss, and what it means.

    >>> meaning(4.6044)
    'perplexity 100: as unsure as among 100 equally likely characters'
    """
    count = f"{perplexity(nats):,.0f}"
    return f"perplexity {count}: as unsure as among {count} equally likely characters"


def meaning_in_chinese(nats: float) -> str:
    """Say the same in Chinese.

    >>> meaning_in_chinese(4.6044)
    '困惑度 100：好比在 100 个同样可能的字之间犹豫'
    """
    count = f"{perplexity(nats):,.0f}"
    return f"困惑度 {count}：好比在 {count} 个同样可能的字之间犹豫"
