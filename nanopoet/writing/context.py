"""Texts that a model continues together, a token each at a time."""

import torch
from torch import Tensor

from nanopoet.models.generate import NextTokenModel, evaluating
from nanopoet.models.kv_cache import KVCache


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
    """

    def __init__(self, model: NextTokenModel, prompt: list[int], rows: int) -> None:
        self._model, self._rows = model, rows
        self._start = max(0, len(prompt) - model.block_size)
        self._cache = KVCache(model.block_size)
        device = model.lm_head.weight.device
        self.ids = torch.tensor([prompt], device=device)  # one row until the texts differ

    def logits(self) -> Tensor:
        """Compute the logits of the next token (R, V), fp32, a tensor of its own."""
        model = self._model
        cast = torch.is_autocast_enabled(self.ids.device.type)
        # Autocast keeps the weights it has cast for the next step, except in inference mode.
        with torch.no_grad() if cast else torch.inference_mode(), evaluating(model):
            if self.ids.shape[1] - self._start > model.block_size:
                self._start = self.ids.shape[1] - max(1, model.block_size // 2)
                self._cache = KVCache(model.block_size)
            seen = self.ids[:, self._start :]
            hidden = model.hidden(seen[:, self._cache.length :], self._cache)
            logits = model.lm_head(hidden[:, -1]).float()
            if len(logits) < self._rows:
                first = torch.zeros(self._rows, dtype=torch.int64, device=self.ids.device)
                self.keep(first)
                logits = logits[first]
        return logits.clone() if cast else torch.empty_like(logits).copy_(logits)

    def keep(self, rows: Tensor) -> None:
        """Keep the texts with these indices, (r,). An index may repeat."""
        self._cache.keep(rows)
        self.ids, self._rows = self.ids[rows], len(rows)

    def append(self, following: Tensor) -> None:
        """Append a token (R,) to each text."""
        self.ids = torch.cat([self.ids, following[:, None]], dim=1)
