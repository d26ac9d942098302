"""A cache of keys and values, so that a model computes each token of a text once."""

from collections.abc import Callable

import torch
from torch import Tensor

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, int | Tensor | None]]
"""`extend` of a cache, for one layer."""

_MIN_CAPACITY = 16
"""Smallest capacity in tokens. A full cache doubles, so short texts read a short cache."""


class KVCache:
    """Keys and values of B sequences in every layer.

    Args:
        block_size: most tokens that it can hold.

    Attributes:
        length: tokens that it holds.
        layers: number of a layer → its keys and values, (B, H, S, D) each.
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.length = 0
        self.layers: dict[int, list[Tensor]] = {}

    def positions(self, count: int) -> slice:
        """Return the positions of T new tokens in their sequences.

        Raises:
            ValueError: with them there would be more than `block_size` tokens.
        """
        assert self.length == 0 or count == 1, "the causal mask starts at position 0"
        end = self.length + count
        if self.block_size < end:
            raise ValueError(f"{end} tokens are more than block_size {self.block_size}")
        return slice(self.length, end)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, int]:
        """Add keys and values of T new tokens to a layer.

        `length` stays the same until `advance`, because each layer is extended in turn.

        Args:
            layer: number of the layer.
            keys: (B, H, T, D), of the new tokens.
            values: (B, H, T, D), of the new tokens.

        Returns:
            keys and values of all tokens, (B, H, S, D) each, S being the cache capacity; and the
            number of tokens, L ≤ S. Zeros fill what is beyond L.
        """
        start, end = self.length, self.length + keys.shape[2]
        held = self.layers.get(layer)
        if held is None or held[0].shape[2] < end:
            held = self.layers[layer] = [
                self._enlarge(held[i] if held else new[:, :, :0], new, end)
                for i, new in enumerate((keys, values))
            ]
        for kept, new in zip(held, (keys, values), strict=True):
            kept[:, :, start:end] = new
        return held[0], held[1], end

    def _enlarge(self, kept: Tensor, new: Tensor, end: int) -> Tensor:
        capacity = max(_MIN_CAPACITY, 1 << (end - 1).bit_length())
        added = min(capacity, self.block_size) - kept.shape[2]
        return torch.cat([kept, kept.new_zeros(*new.shape[:2], added, new.shape[3])], dim=2)

    def advance(self, count: int) -> None:
        """Count T new tokens as held, after every layer has been extended."""
        self.length += count

    def keep(self, rows: Tensor) -> None:
        """Keep the sequences with these indices, (b,). An index may repeat."""
        self.layers = {layer: [kept[rows] for kept in held] for layer, held in self.layers.items()}
