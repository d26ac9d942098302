"""The interface of both architectures: token ids in, logits and losses out.

Shape letters, here and in the whole package: B batch, T time (position in the window), C channels
(`emb_size`), H query heads, K key and value heads, D channels of a head, V `vocab_size`.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nanopoet.models.generate import NextTokenModel, generate
from nanopoet.models.kv_cache import KVCache
from nanopoet.models.kv_pool import Cache
from nanopoet.ops.cross_entropy import (
    EAGER_KERNELS,
    Kernels,
    linear_cross_entropy,
    softmax_gradient,
    sum_transposed,
    token_cross_entropy,
)
from nanopoet.ops.second_loss import SecondLoss
from nanopoet.tokens.tokenizer import BEGIN_ID, CONTENT_END_ID, PADDING_ID


class LanguageModel(NextTokenModel):
    """A decoder-only transformer over token ids.

    Attributes:
        config: arguments of `make_model` for the same architecture and sizes.
        block_size: longest T.
        token_embedding: (V) → (C).
        blocks: the transformer blocks.
        lm_head: the output layer, (C) → (V).
        activation_checkpointing: whether training recomputes the activations inside a block in
            the backward pass instead of keeping them.
        takes_fields: whether the model writes for an author, a style and a title, and ends a poem
            with CONTENT_END. A pretrained model continues a text, and ends a poem with BEGIN.
        second_losses: further training losses. They change the gradient; the value of `loss` leaves
            them out.
    """

    config: dict[str, Any]
    token_embedding: nn.Embedding
    blocks: nn.ModuleList
    second_losses: list[SecondLoss]
    activation_checkpointing = False
    takes_fields = False
    generate = generate
    _compiled: tuple[Callable[..., Tensor], Kernels] | None = None

    def __init__(self) -> None:
        super().__init__()
        # A module list, so that they move to a device with the model.
        self.second_losses = nn.ModuleList()  # type: ignore[assignment]

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def stop_id(self) -> int:
        """Id of the token that ends a poem."""
        return CONTENT_END_ID if self.takes_fields else BEGIN_ID

    @abstractmethod
    def _hidden(self, x: Tensor, positions: slice | Tensor, cache: Cache | None) -> Tensor:
        """Compute (B, T, C) embedded tokens → (B, T, C), the input of the output layer."""

    def _run_blocks(self, x: Tensor, cache: Cache | None, *inputs: Tensor) -> Tensor:
        """Run all blocks, compiled or checkpointed where training asks for it."""
        training = torch.is_grad_enabled()
        run = self._compiled[0] if self._compiled and training else _run_block
        for layer, block in enumerate(self.blocks):
            extend = partial(cache.extend, layer) if cache else None
            x = run(block, self.activation_checkpointing and training, x, *inputs, extend)
        if cache:
            cache.advance(x.shape[1])
        return x

    def hidden(self, idx: Tensor, cache: Cache | None = None) -> Tensor:
        """Compute (B, T) token ids → (B, T, C), the input of the output layer.

        Args:
            idx: the ids. With a cache that holds tokens, the single token that follows them.
            cache: keys and values of the tokens before. Those of `idx` are added.

        Raises:
            ValueError: more than `block_size` tokens together.
        """
        positions = (cache or KVCache(self.block_size)).positions(idx.shape[1])
        return self._hidden(self.token_embedding(idx), positions, cache)

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Predict the token after each position.

        Args:
            idx: (B, T) token ids.
            targets: (B, T) the ids that follow, or None.
            cache: see `hidden`.

        Returns:
            logits (B, T, V), and the mean cross-entropy in nats per token, fp32
            (None without targets).
        """
        logits: Tensor = self.lm_head(self.hidden(idx, cache))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def loss(self, idx: Tensor, targets: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Compute the loss of `forward` without holding the logits of all positions at once.

        Args:
            idx: (B, T) token ids.
            targets: (B, T) the ids that follow. In a model that takes fields, PADDING has no loss,
                but counts in the mean.
            wanted: (B, T, V) logits. The gradient then is that of the divergence from them; see
                `linear_cross_entropy`.

        Returns:
            the mean cross-entropy in nats per token, (), fp32.
        """
        return linear_cross_entropy(
            self.hidden(idx).flatten(0, 1),
            self.lm_head.weight,
            self.lm_head.bias,
            targets.flatten(),
            self._compiled[1] if self._compiled else EAGER_KERNELS,
            no_target=PADDING_ID if self.takes_fields else None,
            second_rows=[each.rows(idx, targets) for each in self.second_losses],
            wanted=None if wanted is None else wanted.flatten(0, 1),
        )

    def compile_loss(self) -> None:
        """Have torch's compiler compile `loss` when it runs next.

        It compiles one block, which serves all of them, and the kernels of the loss. Random
        numbers stay the same as without the compiler.

        The embedding is left out. Compiled, the threads add up its gradient by atomic additions,
        in any order, so that no two trainings would end with the same weights.
        """
        options: dict[str, Any] = {"fallback_random": True}
        self._compiled = (
            torch.compile(_run_block, dynamic=False, options=options),
            Kernels(
                torch.compile(softmax_gradient, dynamic=False),
                torch.compile(sum_transposed, dynamic=False),
            ),
        )

    @torch.no_grad()
    def token_losses(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Compute the cross-entropy of each token, without holding all logits at once.

        Args:
            idx: (B, T) token ids.
            targets: (B, T) the ids that follow. In a model that takes fields, PADDING has no loss.

        Returns:
            (B, T) fp32, in nats.
        """
        hidden = self.hidden(idx).flatten(0, 1)
        losses = token_cross_entropy(hidden, self.lm_head, targets.flatten()).view_as(targets)
        return losses.masked_fill_(targets == PADDING_ID, 0) if self.takes_fields else losses


def _run_block(block: nn.Module, checkpointing: bool, *inputs: Any) -> Tensor:
    if checkpointing:
        kept: Tensor = checkpoint(block, *inputs, use_reentrant=False)
        return kept
    y: Tensor = block(*inputs)
    return y
