"""Keys and values of many texts, so that one forward pass continues texts of several lengths."""

import torch
from torch import Tensor

from nanopoet.models.kv_cache import KVCache
from nanopoet.models.segment_cache import SegmentCache

STRIDE = 32
"""Texts are read up to a multiple of this length. So what is behind their end changes no bit."""


class KVPool:
    """Keys and values of up to R texts in every layer. Each text has a row of all tensors.

    Args:
        block_size: S, most tokens of a text.
        rows: R.

    Attributes:
        free: rows that no text has.
        layers: number of a layer → its keys and values, (R, K, S, D) each.
    """

    def __init__(self, block_size: int, rows: int) -> None:
        self.block_size, self.rows = block_size, rows
        self.free = list(range(rows))
        self.layers: dict[int, list[Tensor]] = {}


class PoolRows:
    """Texts of one length in a pool, with what a `Context` asks of its `KVCache`.

    Args:
        pool: has enough free rows.
        texts: number of texts.
        device: of the model.

    Attributes:
        rows: of the texts.
        length: tokens of each text that the pool holds.
    """

    def __init__(self, pool: KVPool, texts: int, device: torch.device) -> None:
        assert texts <= len(pool.free)
        self._pool = pool
        self.rows = torch.tensor([pool.free.pop() for _ in range(texts)], device=device)
        self.length = 0

    def keep(self, rows: Tensor) -> None:
        """Keep the texts with these indices, (r,), and free the other rows. An index may repeat."""
        chosen, kept = self.rows[rows], self.rows[: len(rows)]
        for held in self._pool.layers.values():
            for each in held:
                each[kept] = each[chosen]
        self._pool.free += self.rows[len(rows) :].tolist()
        self.rows = kept

    def leave(self) -> None:
        """Free all rows."""
        self._pool.free += self.rows.tolist()


class PoolPass:
    """The cache of one forward pass over single tokens of texts in a pool.

    The model computes the tokens as (N, 1). Each token sees its text up to its own place, so
    several tokens of one text may be among them.

    Args:
        pool: holds keys and values.
        rows: (N,) row of each token.
        places: (N,) place of each token in its text.
    """

    def __init__(self, pool: KVPool, rows: Tensor, places: Tensor) -> None:
        self._pool, self._rows, self._places = pool, rows, places
        longest = int(places.max()) + 1
        self._reach = min(-(-longest // STRIDE) * STRIDE, pool.block_size)

    def positions(self, count: int) -> Tensor:
        """Return the place of each token in its text, (N, 1)."""
        assert count == 1
        return self._places[:, None]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add keys and values (N, K, 1, D) of the tokens to a layer.

        Returns:
            keys and values of the texts of all tokens, as far as the longest reaches; and how many
            of these each token sees, (N,).
        """
        pool = self._pool
        if layer not in pool.layers:
            shape = (pool.rows, keys.shape[1], pool.block_size, keys.shape[3])
            pool.layers[layer] = [keys.new_zeros(shape), values.new_zeros(shape)]
        for kept, new in zip(pool.layers[layer], (keys, values), strict=True):
            kept[self._rows, :, self._places] = new[:, :, 0]
        of_keys, of_values = (
            kept[:, :, : self._reach].index_select(0, self._rows) for kept in pool.layers[layer]
        )
        return of_keys, of_values, self._places + 1

    def advance(self, count: int) -> None:
        """Do nothing: the texts know their lengths."""


Cache = KVCache | PoolPass | SegmentCache
