"""The modern model as Qwen3, with the weights named as in `transformers`."""

from typing import Any

import torch
from torch import Tensor

from nanopoet.models.qwen3 import NORM_EPS, Qwen3LanguageModel
from nanopoet.ops.rotary import ROPE_THETA


def as_qwen3(model: Qwen3LanguageModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert a model to `transformers`' Qwen3ForCausalLM: new names, stacked matrices split.

    Returns:
        the content of config.json, and the weights in fp32.
    """
    old = {name: tensor.float().cpu() for name, tensor in model.state_dict().items()}
    weights = {
        "model.embed_tokens.weight": old["token_embedding.weight"],
        "model.norm.weight": old["norm"],
        "lm_head.weight": old["lm_head.weight"],
    }
    for layer in range(model.config["layer_num"]):
        start = f"blocks.{layer}."
        block = {name.removeprefix(start): t for name, t in old.items() if name.startswith(start)}
        weights |= {
            f"model.layers.{layer}.{name}.weight": tensor
            for name, tensor in _block(block, model.config).items()
        }
    return _config(model), weights


def _config(model: Qwen3LanguageModel) -> dict[str, Any]:
    sizes = model.config
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": sizes["vocab_size"],
        "hidden_size": sizes["emb_size"],
        "intermediate_size": sizes["mlp_size"],
        "num_hidden_layers": sizes["layer_num"],
        "num_attention_heads": sizes["head_num"],
        "num_key_value_heads": sizes["kv_head_num"],
        "head_dim": sizes["emb_size"] // sizes["head_num"],
        "hidden_act": "silu",
        "max_position_embeddings": sizes["block_size"],
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
        "attention_bias": False,
        "tie_word_embeddings": False,
    }


def _block(old: dict[str, Tensor], sizes: dict[str, Any]) -> dict[str, Tensor]:
    """Map the weights of a block from their names after `blocks.N.` to Qwen3's names."""
    head_size = sizes["emb_size"] // sizes["head_num"]
    heights = [head_size * sizes[name] for name in ("head_num", "kv_head_num", "kv_head_num")]
    q, k, v = torch.split(old["attn.qkv_proj.weight"], heights)
    q_norm, k_norm = old["attn.qk_norm"].flatten(1)
    gate, up = old["mlp.gate_up_proj.weight"].chunk(2)
    return {
        "input_layernorm": old["attn_norm"],
        "self_attn.q_proj": q,
        "self_attn.k_proj": k,
        "self_attn.v_proj": v,
        "self_attn.q_norm": q_norm,
        "self_attn.k_norm": k_norm,
        "self_attn.o_proj": old["attn.o_proj.weight"],
        "post_attention_layernorm": old["mlp_norm"],
        "mlp.gate_proj": gate,
        "mlp.up_proj": up,
        "mlp.down_proj": old["mlp.down_proj.weight"],
    }
