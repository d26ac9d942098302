"""The modern model as Qwen3, by the names that `transformers` gives its parts."""

from typing import Any

from torch import Tensor

from nanopoet.models.qwen3 import NORM_EPS, ROPE_THETA, Qwen3LanguageModel


def as_qwen3(model: Qwen3LanguageModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same model for `transformers`' Qwen3ForCausalLM: nothing but names differ.

    Returns:
        what config.json says of it, and its weights, fp32.
    """
    sizes = model.config
    head_size = sizes["emb_size"] // sizes["head_num"]
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": sizes["vocab_size"],
        "hidden_size": sizes["emb_size"],
        "intermediate_size": sizes["mlp_size"],
        "num_hidden_layers": sizes["layer_num"],
        "num_attention_heads": sizes["head_num"],
        "num_key_value_heads": sizes["kv_head_num"],
        "head_dim": head_size,
        "hidden_act": "silu",
        "max_position_embeddings": sizes["block_size"],
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
        "attention_bias": False,
        "tie_word_embeddings": False,
    }
    held = {name: tensor.float().cpu() for name, tensor in model.state_dict().items()}
    weights = {
        "model.embed_tokens.weight": held["token_embedding.weight"],
        "model.norm.weight": held["norm"],
        "lm_head.weight": held["lm_head.weight"],
    }
    heights = [head_size * sizes[name] for name in ("head_num", "kv_head_num", "kv_head_num")]
    for layer in range(sizes["layer_num"]):
        ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        q, k, v = held[ours + "attn.qkv_proj.weight"].split(heights)
        q_norm, k_norm = held[ours + "attn.qk_norm"].flatten(1)
        gate, up = held[ours + "mlp.gate_up_proj.weight"].chunk(2)
        parts = {
            "input_layernorm": held[ours + "attn_norm"],
            "self_attn.q_proj": q,
            "self_attn.k_proj": k,
            "self_attn.v_proj": v,
            "self_attn.q_norm": q_norm,
            "self_attn.k_norm": k_norm,
            "self_attn.o_proj": held[ours + "attn.o_proj.weight"],
            "post_attention_layernorm": held[ours + "mlp_norm"],
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": held[ours + "mlp.down_proj.weight"],
        }
        weights |= {f"{theirs}{name}.weight": tensor for name, tensor in parts.items()}
    return config, weights
