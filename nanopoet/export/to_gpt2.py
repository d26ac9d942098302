"""The classic model as GPT-2, by the names that `transformers` gives its parts.

GPT-2 (Radford et al. 2019) has no bias in its output layer, which the classic
model has. A constant channel makes up for it, at the price of one channel more
for each head:

- LayerNorm takes the mean away, so whatever adds to the residual stream may have
  its mean taken away beforehand. The mean of C such channels and H zeros is then zero.
- Their variance is r = C / (C + H) of what it was. LayerNorm with r eps and √r gain
  gives the old values, and with a bias of 1 on a zero channel a constant 1.
- The output layer reads that 1 with its bias as weights.
- Each head gets a zero channel; as scores are divided by √(D + 1) now, queries are longer
  by √((D + 1) / D).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from nanopoet.models.gpt import GPTLanguageModel


def as_gpt2(model: GPTLanguageModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same model, computed with a few channels more, for `transformers`' GPT2LMHeadModel.

    Returns:
        what config.json says of it, and its weights, fp32.
    """
    sizes = model.config
    C, H = sizes["emb_size"], sizes["head_num"]
    D, wide = C // H, C + H
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": sizes["vocab_size"],
        "n_positions": sizes["block_size"],
        "n_embd": wide,
        "n_inner": 4 * C,
        "n_layer": sizes["layer_num"],
        "n_head": H,
        "activation_function": "gelu",
        "layer_norm_epsilon": model.ln_f.eps * C / wide,
        "attn_pdrop": sizes["dropout"],
        "resid_pdrop": sizes["dropout"],
        "embd_pdrop": 0.0,
        "tie_word_embeddings": False,
    }
    held = {name: tensor.double().cpu() for name, tensor in model.state_dict().items()}

    def residual(name: str) -> Tensor:
        """(..., C) → (..., wide): what is added to the residual stream."""
        tensor = held[name]
        return pad(tensor - tensor.mean(dim=-1, keepdim=True), (0, H))

    def projection(name: str) -> Tensor:
        """(C, n) → (n, wide), GPT-2's order of dimensions."""
        weight = held[name].t()
        return pad(weight - weight.mean(dim=-1, keepdim=True), (0, H))

    def norm(name: str) -> dict[str, Tensor]:
        return {
            "weight": pad(held[f"{name}.weight"] * (C / wide) ** 0.5, (0, H)),
            "bias": pad(held[f"{name}.bias"], (0, H)),
        }

    def qkv(name: str) -> Tensor:
        """(3 C, C) → (wide, 3 wide)"""
        heads = held[name].view(3, H, D, C).clone()
        heads[0] *= ((D + 1) / D) ** 0.5
        return pad(heads, (0, H, 0, 1)).reshape(3 * wide, wide).t()

    def heads_to_residual(name: str) -> Tensor:
        """(C, C) → (wide, wide)"""
        return pad(projection(name).view(H, D, wide), (0, 0, 0, 1)).reshape(wide, wide)

    ln_f = norm("ln_f")
    ln_f["bias"][C] = 1.0
    output = pad(held["lm_head.weight"], (0, H))
    output[:, C] = held["lm_head.bias"]
    weights = {
        "transformer.wte.weight": residual("token_embedding.weight"),
        "transformer.wpe.weight": residual("position_embedding.weight"),
        "lm_head.weight": output,
    } | {f"transformer.ln_f.{part}": tensor for part, tensor in ln_f.items()}
    for layer in range(sizes["layer_num"]):
        ours, theirs = f"blocks.{layer}.", f"transformer.h.{layer}."
        parts = {
            "attn.c_attn.weight": qkv(ours + "attn.qkv.weight"),
            "attn.c_attn.bias": torch.zeros(3 * wide),
            "attn.c_proj.weight": heads_to_residual(ours + "attn.proj.weight"),
            "attn.c_proj.bias": residual(ours + "attn.proj.bias"),
            "mlp.c_fc.weight": pad(held[ours + "mlp.fc.weight"], (0, H)).t(),
            "mlp.c_fc.bias": held[ours + "mlp.fc.bias"],
            "mlp.c_proj.weight": projection(ours + "mlp.proj.weight"),
            "mlp.c_proj.bias": residual(ours + "mlp.proj.bias"),
        }
        for name in ("ln_1", "ln_2"):
            parts |= {f"{name}.{part}": tensor for part, tensor in norm(ours + name).items()}
        weights |= {theirs + name: tensor for name, tensor in parts.items()}
    return config, {name: tensor.float() for name, tensor in weights.items()}
