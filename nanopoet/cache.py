"""Keys and values of the tokens that a model has seen, so that it need not see them again."""

from collections.abc import Callable

from torch import Tensor

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`KVCache.extend` of one layer."""


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
        self._room: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, H, T, D) keys and values of new tokens to a layer.

        Returns:
            keys and values (B, H, length + T, D) of all tokens, the new ones included.
            `length` stays until `advance`, as each layer has its turn.
        """
        if layer not in self._room:
            shape = (*keys.shape[:2], self.block_size, keys.shape[3])
            self._room[layer] = keys.new_empty(shape), values.new_empty(shape)
        end = self.length + keys.shape[2]
        for room, new in zip(self._room[layer], (keys, values), strict=True):
            room[:, :, self.length : end] = new
        all_keys, all_values = self._room[layer]
        return all_keys[:, :, :end], all_values[:, :, :end]

    def advance(self, count: int) -> None:
        """Count T new tokens as held, once every layer has them."""
        self.length += count

    def keep(self, rows: Tensor) -> None:
        """Forget all sequences but some, (b,) indices into B."""
        self._room = {layer: (k[rows], v[rows]) for layer, (k, v) in self._room.items()}
