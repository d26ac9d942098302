"""Texts that a model continues together, a token each at a time."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from nanopoet.models.generate import NextTokenModel, evaluating
from nanopoet.models.kv_cache import KVCache
from nanopoet.models.kv_pool import KVPool, PoolPass, PoolRows

TOKENS = 128
"""Tokens of one forward pass over texts in a pool, at most: each one copies its text's keys."""


class Context:
    """R texts of the same length, and the keys and values of their tokens.

    The model sees them as `nanopoet.models.generate.stream` says: at most `block_size` tokens, and
    from there on the last `block_size // 2`.

    Args:
        model: predicts the next token.
        prompt: ids with which all texts begin, at least one.
        rows: R.

    Attributes:
        ids: (R, T) the texts.
        rows: R.
    """

    def __init__(self, model: NextTokenModel, prompt: list[int], rows: int) -> None:
        self._model, self.rows = model, rows
        self._start = max(0, len(prompt) - model.block_size)
        self._cache: KVCache | PoolRows = KVCache(model.block_size)
        self._logits: Tensor | None = None
        device = model.lm_head.weight.device
        self.ids = torch.tensor([prompt], device=device)  # one row until the texts differ

    def logits(self) -> Tensor:
        """Return the logits of the next token (R, V), fp32, a tensor of its own.

        They are computed here, unless `compute` has computed them together with others.
        """
        if self._logits is None:
            self._compute()
        logits, self._logits = self._logits, None
        assert logits is not None
        return logits

    def _compute(self) -> None:
        """Compute the logits of these texts alone."""
        assert isinstance(self._cache, KVCache)
        model = self._model
        with torch.no_grad(), evaluating(model):
            hidden = model.hidden(self._unseen(), self._cache)
            self._receive(model.lm_head(hidden[:, -1]))

    def _unseen(self) -> Tensor:
        """Return the tokens (B, T) that the model has to compute next; B is 1 or R."""
        if self.ids.shape[1] - self._start > self._model.block_size:
            self._start = self.ids.shape[1] - max(1, self._model.block_size // 2)
            if isinstance(self._cache, KVCache):
                self._cache = KVCache(self._model.block_size)
            else:
                self._cache.length = 0
        return self.ids[:, self._start + self._cache.length :]

    def _next_tokens(self, pool: KVPool) -> Tensor:
        """Return the tokens to compute next, with their rows in a pool and their places in it.

        They count as held from now on.

        Returns:
            (3, B, T) ids, rows and places.
        """
        if isinstance(self._cache, KVCache):
            self._cache = PoolRows(pool, self.rows, self.ids.device)
        ids = self._unseen()
        places = torch.arange(ids.shape[1], device=ids.device) + self._cache.length
        self._cache.length += ids.shape[1]
        rows = self._cache.rows[: len(ids), None]
        return torch.stack([ids, rows.expand_as(ids), places.expand_as(ids)])

    def _receive(self, logits: Tensor) -> None:
        """Take the logits (B, V) of the next token."""
        if len(logits) < self.rows:
            first = torch.zeros(self.rows, dtype=torch.int64, device=self.ids.device)
            self.keep(first)
            logits = logits[first]
        self._logits = logits.float()

    def keep(self, rows: Tensor) -> None:
        """Keep the texts with these indices, (r,). An index may repeat."""
        self._cache.keep(rows)
        self.ids, self.rows = self.ids[rows], len(rows)

    def append(self, following: Tensor) -> None:
        """Append a token (R,) to each text."""
        self.ids = torch.cat([self.ids, following[:, None]], dim=1)

    def leave(self) -> None:
        """Free the rows in a pool."""
        if isinstance(self._cache, PoolRows):
            self._cache.leave()
            self._cache = KVCache(self._model.block_size)


def compute(contexts: Sequence[Context], pool: KVPool) -> None:
    """Compute the next logits of contexts of one model, in one forward pass.

    New contexts get rows of the pool. If their prompts are long, there are several passes. The
    logits of a context do not depend on the others.

    Args:
        contexts: at least one; none has computed anything outside of the pool.
        pool: has free rows for the new ones.
    """
    model = contexts[0]._model
    parts = [context._next_tokens(pool) for context in contexts]  # (3, B, T) each
    tokens = torch.cat([part.flatten(1) for part in parts], dim=1)  # (3, N)
    lengths = [part.shape[2] for part in parts for _ in range(part.shape[1])]
    last = [end - 1 for end in accumulate(lengths)]
    with torch.no_grad(), evaluating(model):
        chunks = torch.split(tokens, TOKENS, dim=1)
        hidden = torch.cat([_hidden(model, pool, chunk) for chunk in chunks])  # (N, C)
        # As in `_hidden`, there are never fewer than two rows.
        logits = model.lm_head(hidden[[*last, last[-1]]])[:-1]
    counts = [part.shape[1] for part in parts]
    for context, some in zip(contexts, torch.split(logits, counts), strict=True):
        context._receive(some)


def _hidden(model: NextTokenModel, pool: KVPool, tokens: Tensor) -> Tensor:
    """Compute (3, N) ids, rows and places of tokens, in their order → (N, C).

    The last is computed twice: `Linear` multiplies a single row in another way, and rounds
    otherwise.
    """
    ids, rows, places = torch.cat([tokens, tokens[:, -1:]], dim=1)
    return model.hidden(ids[:, None], PoolPass(pool, rows, places))[:-1, 0]
