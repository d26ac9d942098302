"""Keys and values for the segments of one long text, so that a model computes each token once."""

import torch
from torch import Tensor

from nanopoet.models.kv_cache import KVCache
from nanopoet.ops.rotary import rotate


class SegmentCache:
    """Lets each segment of a text see the last tokens of the segment before it.

    The sequences of a batch are segments that follow one another, and so are the batches. The keys
    of a segment are those of its own pass, as in Transformer-XL (Dai et al. 2019,
    https://arxiv.org/abs/1901.02860). With rotary positions a key moves back by a rotation.

    Args:
        start: holds the tokens before the first segment.
        segment_size: S, at least as many as `start` holds.
        rotary: (2, 2, D/2) cosines and signed sines of position S, from `rotary_tables`.
    """

    def __init__(self, start: KVCache, segment_size: int, rotary: Tensor) -> None:
        assert 0 < start.length <= segment_size
        self.length = start.length
        self._cos, self._sin = rotary[0], -rotary[1]
        self._before = {
            layer: [held[:, :, : self.length] for held in both]
            for layer, both in start.layers.items()
        }

    def positions(self, count: int) -> slice:
        """Return the positions of the tokens of a segment: they follow the tokens before it."""
        return slice(self.length, self.length + count)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, None]:
        """Put the keys and values of the tokens before each segment in front of its own.

        Args:
            layer: number of the layer.
            keys: (B, K, S, D), of B segments.
            values: (B, K, S, D), of B segments.

        Returns:
            keys and values, (B, K, L + S, D) each, for L tokens before each segment; and None.
        """
        moved = rotate(keys[:, :, -self.length :], self._cos, self._sin).to(keys.dtype)
        last = [moved, values[:, :, -self.length :]]
        before = [
            torch.cat([held, each[:-1]])
            for held, each in zip(self._before[layer], last, strict=True)
        ]
        self._before[layer] = [each[-1:] for each in last]
        return torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2), None

    def advance(self, count: int) -> None:
        """Do nothing: the segments of the next batch have the same positions."""
