"""Keys and values of many texts, so that one forward pass continues texts of several lengths."""

import torch
from torch import Tensor

from nanopoet.models.kv_cache import KVCache


class KVPool:
    """Keys and values of up to R texts in every layer. Each text has a row of all tensors.

    It is the cache of a model that computes the next token of each row at once, (B, 1). B reaches
    up to the last row in use, and is never 1: `Linear` multiplies a single row in another way, with
    other rounding. Free rows in between are computed in vain.

    Args:
        block_size: S, most tokens of a text.
        rows: R, at least 2.
        device: of the model.

    Attributes:
        lengths: (R,) tokens that each row holds; 0 if it is free.
    """

    def __init__(self, block_size: int, rows: int, device: torch.device) -> None:
        self.block_size = block_size
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=device)
        self._layers: dict[int, list[Tensor]] = {}

    def free(self) -> int:
        """Return the number of free rows."""
        return int((self.lengths == 0).sum())

    def take_over(self, cache: KVCache) -> "PoolRows":
        """Copy the texts of a cache to free rows."""
        count, heads, _, size = cache.layers[0][0].shape
        rows = (self.lengths == 0).nonzero()[:count, 0]
        assert len(rows) == count
        for layer, held in cache.layers.items():
            if layer not in self._layers:
                shape = (len(self.lengths), heads, self.block_size, size)
                self._layers[layer] = [each.new_zeros(shape) for each in held]
            for kept, new in zip(self._layers[layer], held, strict=True):
                kept[rows, :, : cache.length] = new[:, :, : cache.length]
        self.lengths[rows] = cache.length
        return PoolRows(self, rows)

    def keep(self, rows: Tensor, chosen: Tensor) -> Tensor:
        """Replace the texts of some rows by those of chosen rows among them.

        Args:
            rows: (b,) of which those that are left over become free.
            chosen: (c,) rows, c ≤ b. One may come several times.

        Returns:
            the rows (c,) where the chosen texts are now.
        """
        kept, left = rows[: len(chosen)], rows[len(chosen) :]
        for held in self._layers.values():
            for each in held:
                each[kept] = each[chosen]
        self.lengths[left] = 0
        return kept

    def positions(self, count: int) -> Tensor:
        """Return the position of the next token of each row, (B, 1)."""
        assert count == 1
        used = int(self.lengths.nonzero().max()) + 1
        return self.lengths[: max(2, used), None]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add keys and values (B, K, 1, D) of the next token of each row to a layer.

        Returns:
            keys and values of all tokens, (B, K, S, D) each; and the number of tokens of each row,
            (B,). What is beyond means nothing.
        """
        used, lengths = slice(len(keys)), self.lengths[: len(keys)]
        rows = torch.arange(len(keys), device=keys.device)
        for kept, new in zip(self._layers[layer], (keys, values), strict=True):
            kept[rows, :, lengths] = new[:, :, 0]
        return self._layers[layer][0][used], self._layers[layer][1][used], lengths + 1

    def advance(self, count: int) -> None:
        """Count the next token of each row in use as held, after every layer was extended."""
        self.lengths += count * (self.lengths > 0)


class PoolRows:
    """Texts of one length in a pool, with what a `Context` asks of its `KVCache`.

    Attributes:
        rows: of the texts (b,).
    """

    def __init__(self, pool: KVPool, rows: Tensor) -> None:
        self._pool, self.rows = pool, rows

    @property
    def length(self) -> int:
        """Tokens of each text that the pool holds."""
        return int(self._pool.lengths[self.rows[0]])

    def keep(self, rows: Tensor) -> None:
        """Keep the texts with these indices, (r,), r ≤ b. An index may repeat."""
        self.rows = self._pool.keep(self.rows, self.rows[rows])

    def leave(self) -> None:
        """Make the rows free."""
        self._pool.lengths[self.rows] = 0


Cache = KVCache | KVPool
