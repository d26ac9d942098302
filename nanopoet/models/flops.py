"""How much there is to compute."""

from nanopoet.models.base import LanguageModel


def flops_per_token(model: LanguageModel) -> float:
    """FLOP of the matrix products that training needs per token, forward and backward.

    Six for each weight that multiplies (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361),
    and those of attention as Chowdhery et al. 2022 count them (PaLM, appendix B,
    https://arxiv.org/abs/2204.02311), halved since half of the positions are masked. Windows
    have `block_size` tokens. What is computed again to save memory does not count.
    """
    attention = 12 * len(model.blocks) * model.token_embedding.embedding_dim * model.block_size / 2
    return weight_flops_per_token(model) + attention


def weight_flops_per_token(model: LanguageModel) -> int:
    """The same for products with weights alone."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    return 6 * (sum(p.numel() for p in matrices) + model.lm_head.weight.numel())
