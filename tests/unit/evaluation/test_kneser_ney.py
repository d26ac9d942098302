from collections import Counter, defaultdict

import numpy as np
import pytest

from nanopoet.evaluation.kneser_ney import KneserNey

V = 7


class Reference:
    """The formula of `nanopoet.evaluation.kneser_ney`, one probability at a time."""

    def __init__(self, text: list[int], order: int) -> None:
        self.order = order
        text = [0] * (order - 1) + text
        grams = {
            k: Counter(tuple(text[i : i + k]) for i in range(len(text) - k + 1))
            for k in range(1, order + 1)
        }
        self.counts: dict[int, Counter[tuple[int, ...]]] = {order: grams[order]}
        for k in range(1, order):
            self.counts[k] = Counter(gram[1:] for gram in grams[k + 1])
        self.discount = {}
        self.total: dict[tuple[int, ...], int] = defaultdict(int)
        self.kinds: dict[tuple[int, ...], int] = defaultdict(int)
        for k, counts in self.counts.items():
            values = list(counts.values())
            if k < order:  # what only begins the text has no left neighbour, but is a k-gram
                values += [0] * (len(grams[k]) - len(counts))
            once, twice = values.count(1), values.count(2)
            self.discount[k] = once / (once + 2 * twice) if once else 0.5
            for gram, count in counts.items():
                self.total[gram[:-1]] += count
                self.kinds[gram[:-1]] += 1

    def p(self, token: int, context: tuple[int, ...]) -> float:
        k = len(context) + 1
        lower = self.p(token, context[1:]) if context else 1 / V
        total = self.total[context] if k <= self.order else 0
        if not total:
            return lower
        d = self.discount[k]
        own = max(self.counts[k][(*context, token)] - d, 0)
        return own / total + d * self.kinds[context] / total * lower


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [5, 60])
def test_it_is_the_formula(order: int, length: int) -> None:
    rng = np.random.default_rng(order)
    text, other = rng.integers(0, V - 1, length), rng.integers(0, V, 30).tolist()
    reference = Reference(text.tolist(), order)
    padded = [0] * (order - 1) + other
    expected = [
        reference.p(padded[i], tuple(padded[i - order + 1 : i]))
        for i in range(order - 1, len(padded))
    ]
    nats = KneserNey(text, V, order).nats(np.array(other))
    assert nats.shape == (order, len(other))
    assert np.exp(-nats[-1]) == pytest.approx(expected)


def test_lower_orders_are_what_they_would_be_alone() -> None:
    rng = np.random.default_rng(0)
    text, other = rng.integers(0, V, 80), rng.integers(0, V, 30)
    padded = np.concatenate([[0, 0], text])  # a model of order 1 has no padding of its own
    together, alone = KneserNey(text, V, 3).nats(other), KneserNey(padded, V, 1).nats(other)
    assert together[0] == pytest.approx(alone[0])


def test_probabilities_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    text = rng.integers(0, V - 2, 40)
    model = KneserNey(text, V, 3)
    for context in ([1, 2], [0, 5], [6, 6], [4, 1]):
        total = sum(np.exp(-model.nats(np.array([*context, token]))[:, -1]) for token in range(V))
        assert total == pytest.approx(np.ones(3))


def test_it_learns_what_repeats() -> None:
    text = np.array([0, 1, 2, 3, 4] * 50)
    nats = KneserNey(text, V, 3).nats(text)
    assert nats[2].mean() < 0.1 < nats[1].mean() + 0.1 < nats[0].mean()


def test_texts_are_drawn_as_the_model_says() -> None:
    """Frequencies of what follows BEGIN, against the probabilities of the model."""
    rng = np.random.default_rng(0)
    text = rng.choice([0, 1, 1, 1, 2, 3], 300)
    model = KneserNey(text, V, 3)
    written = model.generate(20_000, 2, np.random.default_rng(1))
    assert written.shape == (20_000, 2)
    expected = [np.exp(-model.nats(np.array([token]))[2, 0]) for token in range(V)]
    found = np.bincount(written[:, 0], minlength=V) / len(written)
    assert found == pytest.approx(expected, abs=0.012)
    after_one = written[written[:, 0] == 1, 1]
    expected = [np.exp(-model.nats(np.array([1, token]))[2, 1]) for token in range(V)]
    assert np.bincount(after_one, minlength=V) / len(after_one) == pytest.approx(expected, abs=0.02)


def test_texts_follow_their_generator() -> None:
    model = KneserNey(np.random.default_rng(0).integers(0, V, 200), V, 4)
    first, again, other = (model.generate(5, 12, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
