"""An n-gram model with interpolated Kneser–Ney smoothing: the baseline that only counts.

For a token w after a context h of k - 1 tokens, a discount D is taken from the count. The sum of
the discounts after h goes to the next shorter context h':

    p_k(w | h) = max(c(h w) - D, 0) / c(h) + D · t(h) / c(h) · p_{k-1}(w | h')

c counts occurrences at the highest order, and different left neighbours at lower orders. t(h) is
the number of different tokens after h. p_0 is uniform. For each order D = n1 / (n1 + 2 n2), where
n1 and n2 are the numbers of k-grams counted once and twice. (Chen & Goodman 1999, An empirical
study of smoothing techniques for language modeling, https://doi.org/10.1006/csla.1999.0128,
section 2.7)
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from tqdm import tqdm

from nanopoet.common.types import Array
from nanopoet.tokens.tokenizer import BEGIN_ID

_BITS = 21
"""Bits of a token in the key of a k-gram. The higher bits are the number of its first k - 1 tokens.
The number of a k-gram is the place of its key among all keys of its order."""

_DISCOUNT = 0.5
"""D if no k-gram is counted once, as in a tiny text. With 0, unseen tokens would have no share."""


@dataclass(frozen=True)
class _Order:
    """The G k-grams of one order, after H contexts.

    Attributes:
        keys: (G,) ascending.
        left: (G,) counts less the discount.
        total: (H,) sum of the counts after each context.
        backoff: (H,) share of the next shorter context; 1 if nothing was counted.
        mass: (G + 1,) running sum of `left`.
        starts: (H + 1,) where the k-grams of each context begin.
    """

    keys: Array
    left: Array
    total: Array
    backoff: Array
    mass: Array
    starts: Array

    @classmethod
    def of(cls, keys: Array, counts: Array, contexts: int) -> Self:
        """Smooth the counts (G,) of k-grams with `keys` (G,) after `contexts` contexts."""
        once, twice = np.count_nonzero(counts == 1), np.count_nonzero(counts == 2)
        discount = once / (once + 2 * twice) if once else _DISCOUNT
        owner = keys >> _BITS
        left = np.maximum(counts - discount, 0.0)
        total = np.bincount(owner, weights=counts, minlength=contexts)
        kept = np.bincount(owner, weights=left, minlength=contexts)
        backoff = 1 - np.divide(kept, total, out=np.zeros(contexts), where=total > 0)
        mass = np.concatenate([[0.0], np.cumsum(left)])
        starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=contexts))])
        return cls(keys, left, total, backoff, mass, starts)

    def find(self, contexts: Array, tokens: Array) -> Array:
        """Look up the numbers (n,) of the k-grams of contexts and tokens; -1 if unknown."""
        wanted = contexts << _BITS | tokens
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((contexts >= 0) & (self.keys[places] == wanted), places, -1)

    def interpolate(self, contexts: Array, grams: Array, shorter: Array) -> Array:
        """Compute p_k (n,) from the numbers of contexts and k-grams, and p_{k-1}."""
        own = np.where(grams >= 0, self.left[grams], 0.0)
        total = self.total[contexts]
        known = (contexts >= 0) & (total > 0)
        share = np.divide(own, total, out=np.zeros(len(own)), where=known)
        p: Array = share + np.where(known, self.backoff[contexts], 1.0) * shorter
        return p

    def draw(self, contexts: Array, shorter: Array, rng: np.random.Generator) -> Array:
        """Draw ids (n,) after contexts, or back off to the ids `shorter` (n,)."""
        count = len(contexts)
        own = (contexts >= 0) & (self.total[contexts] > 0)
        own &= rng.random(count) >= self.backoff[contexts]
        low, high = self.starts[contexts], self.starts[contexts + 1]
        point = self.mass[low] + rng.random(count) * (self.mass[high] - self.mass[low])
        place = np.searchsorted(self.mass, point, side="right") - 1
        place = np.clip(place, low, np.maximum(high - 1, low))
        return np.where(own, self.keys[place % len(self.keys)] & (1 << _BITS) - 1, shorter)


class KneserNey:
    """Kneser–Ney models of all orders up to a highest one, from the counts of one text.

    Args:
        tokens: (n,) ids of the text. Before them stand as many BEGIN as a context is long.
        vocab_size: number of ids, seen or not.
        order: length of the longest k-gram.

    >>> text = np.array([4, 5, 4, 5, 4, 6])
    >>> model = KneserNey(text, vocab_size=8, order=2)
    >>> np.exp(-model.nats(np.array([4, 5, 7]))).round(3).tolist()
    [[0.393, 0.25, 0.036], [0.807, 0.594, 0.008]]
    """

    def __init__(self, tokens: Array, vocab_size: int, order: int) -> None:
        assert order >= 1 and vocab_size < 1 << _BITS
        self.order, self.vocab_size = order, vocab_size
        text = self._pad(tokens)
        self._highest: list[_Order] = []
        self._lower: list[_Order] = []
        numbers, contexts = np.zeros(len(text) + 1, np.int64), 1  # of the one 0-gram
        for k in tqdm(range(1, order + 1), disable=None, desc="counting n-grams"):
            keys, places, inverse, counts = _distinct(numbers[:-1] << _BITS | text[k - 1 :])
            if k > 1:
                # Each k-gram is one left neighbour of the (k-1)-gram that it ends in.
                neighbours = np.bincount(numbers[1:][places], minlength=contexts)
                below = self._highest[-1]
                self._lower.append(_Order.of(below.keys, neighbours, len(below.total)))
            self._highest.append(_Order.of(keys, counts, contexts))
            numbers, contexts = inverse, len(keys)

    def _pad(self, tokens: Array) -> Array:
        """Put BEGIN before (n,) ids, as often as a context is long."""
        return np.concatenate([np.full(self.order - 1, BEGIN_ID), tokens]).astype(np.int64)

    def nats(self, tokens: Array) -> Array:
        """Compute the nats (order, n) of `tokens` (n,), by the model of each order from 1 on."""
        text = self._pad(tokens)
        numbers, p = np.zeros(len(text) + 1, np.int64), np.full(len(text), 1 / self.vocab_size)
        found = []
        for k, highest in enumerate(self._highest, start=1):
            contexts, p = numbers[:-1], p[-(len(text) - k + 1) :]
            grams = highest.find(contexts, text[k - 1 :])
            found.append(-np.log(highest.interpolate(contexts, grams, p)[-len(tokens) :]))
            if k < self.order:
                p = self._lower[k - 1].interpolate(contexts, grams, p)
            numbers = grams
        return np.stack(found)

    def generate(self, count: int, length: int, rng: np.random.Generator) -> Array:
        """Sample `count` texts of `length` ids from BEGIN on by the highest order, (count, length).

        An id comes from the counts of the longest context, or with the probability of its back-off
        from the next shorter context. This gives each id the probability p_k of the formula.
        """
        text = np.full((count, self.order - 1 + length), BEGIN_ID, np.int64)
        for t in tqdm(range(self.order - 1, text.shape[1]), disable=None, desc="writing n-grams"):
            drawn = rng.integers(self.vocab_size, size=count)  # p_0 is uniform
            contexts = np.zeros(count, np.int64)
            for k in range(1, self.order + 1):
                if k > 1:
                    contexts = self._number(text[:, t - k + 1 : t])
                level = self._highest[-1] if k == self.order else self._lower[k - 1]
                drawn = level.draw(contexts, drawn, rng)
            text[:, t] = drawn
        return text[:, self.order - 1 :]

    def _number(self, grams: Array) -> Array:
        """Look up the numbers of the k-grams in the rows of (n, k); -1 if unknown."""
        numbers = np.zeros(len(grams), np.int64)
        for level, tokens in zip(self._highest, grams.T, strict=False):
            numbers = level.find(numbers, tokens)
        return numbers


def _distinct(keys: Array) -> tuple[Array, Array, Array, Array]:
    """Find the G distinct values of (n,) keys, as `np.unique` does in five times the time.

    Returns:
        the values, (G,) ascending; the first place of each, (G,); the number of each key's value,
        (n,); and how often each occurs, (G,).
    """
    ordered, order = torch.sort(torch.from_numpy(keys), stable=True)
    values, numbers, counts = torch.unique_consecutive(
        ordered, return_inverse=True, return_counts=True
    )
    inverse = torch.empty_like(numbers).scatter_(0, order, numbers)
    first = order[counts.cumsum(0) - counts]
    return values.numpy(), first.numpy(), inverse.numpy(), counts.numpy()
