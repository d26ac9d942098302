"""Texts that a model continues together, a token each at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nanopoet.models.generate import NextTokenModel, evaluating
from nanopoet.models.kv_cache import KVCache
from nanopoet.models.kv_pool import KVPool, PoolRows


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
        model = self._model
        # Autocast keeps the weights it has cast for the next step, except in inference mode.
        with torch.no_grad(), evaluating(model):
            if self._outgrows():
                self._start = self.ids.shape[1] - max(1, model.block_size // 2)
                self._cache = KVCache(model.block_size)
            assert isinstance(self._cache, KVCache)
            hidden = model.hidden(self.ids[:, self._start + self._cache.length :], self._cache)
            logits = model.lm_head(hidden[:, -1]).float()
            if len(logits) < self.rows:
                first = torch.zeros(self.rows, dtype=torch.int64, device=self.ids.device)
                self.keep(first)
                logits = logits[first]
        self._logits = logits

    def _outgrows(self) -> bool:
        return self.ids.shape[1] - self._start > self._model.block_size

    def keep(self, rows: Tensor) -> None:
        """Keep the texts with these indices, (r,). An index may repeat."""
        self._cache.keep(rows)
        self.ids, self.rows = self.ids[rows], len(rows)

    def append(self, following: Tensor) -> None:
        """Append a token (R,) to each text."""
        self.ids = torch.cat([self.ids, following[:, None]], dim=1)

    def leave(self) -> None:
        """Make the rows of the pool free."""
        if isinstance(self._cache, PoolRows):
            self._cache.leave()
            self._cache = KVCache(self._model.block_size)


def compute(contexts: Sequence[Context], pool: KVPool) -> None:
    """Compute the next logits of contexts, of one model, that share a pool.

    A context that is new in the pool is computed by itself, and all others in one forward pass. The
    logits of a context do not depend on the others.

    Args:
        contexts: all that have rows of the pool, and others.
        pool: has rows for all of them.
    """
    for context in contexts:
        if context._outgrows():
            context.leave()
    going = [(c, c._cache.rows) for c in contexts if isinstance(c._cache, PoolRows)]
    new = [c for c in contexts if isinstance(c._cache, KVCache)]
    if going:
        model = going[0][0]._model
        with torch.no_grad(), evaluating(model):
            places = pool.positions(1)
            ids = torch.zeros_like(places)  # (B, 1)
            for context, rows in going:
                ids[rows] = context.ids[:, -1:]
            logits = model.lm_head(model.hidden(ids, pool)[:, 0]).float()  # (B, V)
        for context, rows in going:
            context._logits = logits[rows]
    for context in new:
        context._compute()
        assert isinstance(context._cache, KVCache)
        context._cache = pool.take_over(context._cache)
