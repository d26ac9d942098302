"""Keys and values of the tokens that a model has seen, so that it need not see them again."""

from collections.abc import Callable

import torch
from torch import Tensor

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, int]]
"""`KVCache.extend` of one layer."""

_LEAST_ROOM = 16
"""Tokens; room is doubled when it is full, so that short texts are not read with room for long."""


class KVCache:
    """Room for the keys and values of B sequences in every layer.

    Args:
        block_size: most tokens that it can hold.

    Attributes:
        length: tokens that it holds.
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.length = 0
        self._room: dict[int, list[Tensor]] = {}

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, int]:
        """Add (B, H, T, D) keys and values of new tokens to a layer.

        Returns:
            keys and values of all tokens, the new ones included, and how many these are, L; with
            zeros in what is left of their room, (B, H, R, D), L ≤ R. `length` stays until
            `advance`, as each layer has its turn.
        """
        start, end = self.length, self.length + keys.shape[2]
        room = self._room.get(layer)
        if room is None or room[0].shape[2] < end:
            room = self._room[layer] = [
                self._larger(new, end, room[i] if room else new[:, :, :0])
                for i, new in enumerate((keys, values))
            ]
        for kept, new in zip(room, (keys, values), strict=True):
            kept[:, :, start:end] = new
        return room[0], room[1], end

    def _larger(self, new: Tensor, end: int, kept: Tensor) -> Tensor:
        size = max(_LEAST_ROOM, 1 << (end - 1).bit_length())
        left = min(size, self.block_size) - kept.shape[2]
        return torch.cat([kept, kept.new_zeros(*new.shape[:2], left, new.shape[3])], dim=2)

    def advance(self, count: int) -> None:
        """Count T new tokens as held, once every layer has them."""
        self.length += count

    def keep(self, rows: Tensor) -> None:
        """Forget all sequences but some, (b,) indices into B."""
        self._room = {layer: [kept[rows] for kept in room] for layer, room in self._room.items()}
