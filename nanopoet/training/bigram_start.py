"""A start from counts: an untrained model begins as a bigram model.

A random embedding says nothing about a character, and a short training sees half of the characters
fewer than six times. To count which token follows which in the whole training part takes a second.
The blocks of an untrained model add nothing, so embedding and output layer alone decide what it
predicts. Here both are fitted to the counts. docs/experiment-log.md has the measurements.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nanopoet.common.types import Array
from nanopoet.models.qwen3 import Qwen3LanguageModel, rms_norm

_SMOOTHING = 200.0
"""Pairs that each token gets on top of its own. Their second tokens are spread as in the text."""
_SCALE = 15.0
"""Size of the embedding, in sizes of a random one. Larger rows change less in training."""
_RIDGE = 1e-3
"""Share of the ridge, which keeps the output weights small, in the weights of all tokens."""
_OVERSAMPLING, _ITERATIONS = 16, 3
"""Further singular vectors, and rounds, of the randomized singular value decomposition."""


class Bigrams(NamedTuple):
    """Counts of neighbouring tokens.

    P(y | x) is the smoothed share of y after x. Its logarithm is log P(y) + gain[x, y], plus a
    number that depends on x alone, which a softmax ignores.

    Attributes:
        gain: (V, V), sparse.
        log_shares: (V,) log P(y), smoothed.
        counts: (V,) how often each token has another behind it.
    """

    gain: Tensor
    log_shares: Tensor
    counts: Tensor

    @classmethod
    def from_tokens(cls, tokens: Array, vocab_size: int) -> "Bigrams":
        """Count the pairs of (n,) tokens."""
        pairs, found = np.unique(
            tokens[:-1].astype(np.int64) * vocab_size + tokens[1:], return_counts=True
        )
        at = torch.from_numpy(np.stack([pairs // vocab_size, pairs % vocab_size]))
        n = torch.from_numpy(found).float()
        empty = torch.zeros(vocab_size)
        shares = empty.index_add(0, at[1], n) + 0.5
        shares /= shares.sum()
        gain = torch.log1p(n / (_SMOOTHING * shares[at[1]]))
        size = vocab_size, vocab_size
        sparse = torch.sparse_coo_tensor(at, gain, size, check_invariants=True).coalesce()
        return cls(sparse, shares.log(), empty.index_add(0, at[0], n))

    def rows(self, size: int, generator: torch.Generator) -> Tensor:
        """Describe each token by what follows it: (V, size), of variance 1.

        These are the left singular vectors of `gain`, by the randomized method of Halko et al. 2011
        (https://arxiv.org/abs/0909.4061), turned at random so that all channels are alike. A token
        without pairs gets random numbers.
        """
        gain, back = self.gain, self.gain.t().coalesce()
        rank = min(size + _OVERSAMPLING, len(gain))
        right = torch.randn(len(gain), rank, generator=generator)
        for _ in range(_ITERATIONS):
            right = torch.linalg.qr(torch.sparse.mm(back, torch.sparse.mm(gain, right)))[0]
        left, values, _ = torch.linalg.svd(torch.sparse.mm(gain, right), full_matrices=False)
        turn = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
        rank = min(rank, size)
        rows = left[:, :rank] * values[:rank].sqrt() @ turn[:rank]
        has_pairs = self.counts[:, None] > 0
        rows = torch.where(has_pairs, rows, torch.randn(rows.shape, generator=generator))
        return rows / rows.square().mean(dim=1, keepdim=True).sqrt()

    def output_weights(self, hidden: Tensor) -> Tensor:
        """Fit an output layer, (V, C), to log P(y | x) for (V, C) hidden states of all x.

        This is ridge regression. A token counts by the root of its number, so that rare ones have a
        say.
        """
        weights = (self.counts + 1).sqrt()
        weighted = hidden * weights[:, None]
        level = self.log_shares - self.log_shares.mean()
        right = torch.sparse.mm(self.gain.t().coalesce(), weighted).t()
        right += torch.outer(weighted.sum(dim=0), level)
        ridge = _RIDGE * weights.sum() * torch.eye(hidden.shape[1])
        fit: Tensor = torch.linalg.solve(weighted.t() @ hidden + ridge, right)
        return fit.t()


@torch.no_grad()
def start_as_bigram_model(
    model: Qwen3LanguageModel, tokens: Array, generator: torch.Generator
) -> None:
    """Give a model the embedding and the output layer of a bigram model.

    What all rows of the embedding share stays: previous-token heads read it.

    Args:
        model: untrained, on the CPU; changed in place.
        tokens: (n,) ids of the training part.
        generator: source of the random numbers.
    """
    table = model.token_embedding.weight
    bigrams = Bigrams.from_tokens(tokens, len(table))
    shared = table.mean(dim=0)
    spread = (table - shared).square().mean().sqrt()
    table.copy_(_SCALE * (shared + spread * bigrams.rows(table.shape[1], generator)))
    hidden = rms_norm(table, torch.ones(table.shape[1]))
    model.lm_head.weight.copy_(bigrams.output_weights(hidden))
