"""What both models are: token ids in, logits and losses out.

Shape letters, here and in the whole package: B batch, T time (position in the
window), C channels (`emb_size`), H heads, K heads of keys and values, D channels of a
head, V `vocab_size`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nanopoet.models.generate import generate
from nanopoet.models.kv_cache import KVCache
from nanopoet.ops.cross_entropy import (
    AS_WRITTEN,
    Kernels,
    add_up,
    linear_cross_entropy,
    softmax_gradient,
    token_cross_entropy,
)


class LanguageModel(nn.Module, ABC):
    """A decoder-only transformer over token ids.

    Attributes:
        config: arguments that make this model again, `architecture` among them.
        block_size: longest T.
        token_embedding: (V) → (C).
        blocks: the layers between the two.
        lm_head: the output layer, (C) → (V).
        activation_checkpointing: whether training computes the inside of a block again on the
            way back instead of keeping it.
    """

    config: dict[str, Any]
    block_size: int
    token_embedding: nn.Embedding
    blocks: nn.ModuleList
    lm_head: nn.Linear
    activation_checkpointing = False
    _compiled: tuple[Callable[..., Tensor], Kernels] | None = None

    @property
    def num_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    @abstractmethod
    def _hidden(self, x: Tensor, cache: KVCache | None) -> Tensor:
        """(B, T, C), embedded tokens → (B, T, C), what the output layer reads."""

    def _run(self, block: nn.Module, *inputs: Any) -> Tensor:
        """What a block makes of its inputs."""
        training = torch.is_grad_enabled()
        run = self._compiled[0] if self._compiled and training else _run_block
        return run(block, self.activation_checkpointing and training, *inputs)

    def hidden(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T) token ids → (B, T, C), what the output layer reads.

        Args:
            idx: the ids; with a cache that holds any, the one that follows them.
            cache: keys and values of what came before, to which those of `idx` are added.

        Raises:
            ValueError: more than `block_size` tokens together.
        """
        held = cache.length if cache else 0
        assert held == 0 or idx.shape[1] == 1, "the causal mask is that of a beginning"
        if self.block_size < held + idx.shape[1]:
            raise ValueError(
                f"{held + idx.shape[1]} tokens are more than block_size {self.block_size}"
            )
        return self._hidden(self.token_embedding(idx), cache)

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, cache: KVCache | None = None
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

    def loss(self, idx: Tensor, targets: Tensor) -> Tensor:
        """The loss that `forward` gives, without ever holding the logits of all positions."""
        return linear_cross_entropy(
            self.hidden(idx).flatten(0, 1),
            self.lm_head.weight,
            self.lm_head.bias,
            targets.flatten(),
            self._compiled[1] if self._compiled else AS_WRITTEN,
        )

    def compile_loss(self) -> None:
        """Let torch's compiler make machine code for what `loss` spends its time on, the next time
        it runs: for one block, which serves all of them, and for the loss's kernels.

        Random numbers stay those of the model as it is written. The embedding is left out: the
        compiler's threads add up its gradient in whatever order they come (atomic additions), so
        that no two trainings would end alike.
        """
        options: dict[str, Any] = {"fallback_random": True}
        self._compiled = (
            torch.compile(_run_block, dynamic=False, options=options),
            Kernels(
                torch.compile(softmax_gradient, dynamic=False),
                torch.compile(add_up, dynamic=False),
            ),
        )

    @torch.no_grad()
    def token_losses(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each token, (B, T) fp32 in nats; never holds all logits at once."""
        hidden = self.hidden(idx).flatten(0, 1)
        return token_cross_entropy(hidden, self.lm_head, targets.flatten()).view_as(targets)

    def generate(
        self,
        idx: Tensor,
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        stop_id: int | None = None,
    ) -> Tensor:
        """Continue (B, T) token ids by sampling; see `nanopoet.models.generate.generate`."""
        return generate(
            self,
            idx,
            max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=generator,
            stop_id=stop_id,
        )


def _run_block(block: nn.Module, checkpointing: bool, *inputs: Any) -> Tensor:
    if checkpointing:
        kept: Tensor = checkpoint(block, *inputs, use_reentrant=False)
        return kept
    y: Tensor = block(*inputs)
    return y
