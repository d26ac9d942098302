"""Number of floating-point operations of a training."""

from nanopoet.models.base import LanguageModel


def flops_per_token(model: LanguageModel) -> float:
    """Count the FLOP of the matmuls that training takes per token, forward and backward.

    Weights take six each (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361). Attention counts
    as in Chowdhery et al. 2022 (PaLM, appendix B, https://arxiv.org/abs/2204.02311), halved because
    half of the positions are masked. Windows have `block_size` tokens. Recomputed activations do
    not count.
    """
    attention = 12 * len(model.blocks) * model.token_embedding.embedding_dim * model.block_size / 2
    return weight_flops_per_token(model) + attention


def weight_flops_per_token(model: LanguageModel) -> int:
    """Count the FLOP per token of the matmuls with weights alone, as `flops_per_token` does."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    return 6 * (sum(p.numel() for p in matrices) + model.lm_head.weight.numel())
