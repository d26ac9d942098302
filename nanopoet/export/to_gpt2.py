"""The classic model as GPT-2, with the weights named as in `transformers`.

The classic model has a bias in its output layer. GPT-2 (Radford et al. 2019,
https://github.com/openai/gpt-2) has none. A constant channel makes up for it, which takes one
channel more for each head:

- LayerNorm subtracts the mean. So the mean can be subtracted beforehand from everything that is
  added to the residual stream. The mean of C such channels and H zeros is then zero.
- The variance of C + H channels is r = C / (C + H) times the old one. LayerNorm with the epsilon
  times r and the gain times √r gives the old values. With a bias of 1 on a zero channel it gives a
  constant 1.
- The output layer reads that 1, with its bias as weights.
- Each head gets a zero channel. As scores are now divided by √(D + 1), queries are multiplied by
  √((D + 1) / D).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from nanopoet.models.gpt import GPTLanguageModel


def as_gpt2(model: GPTLanguageModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert a model to `transformers`' GPT2LMHeadModel, with the same logits.

    Returns:
        the content of config.json, and the weights in fp32.
    """
    wider = _WiderModel(model)
    weights = {
        "transformer.wte.weight": wider.residual("token_embedding.weight"),
        "transformer.wpe.weight": wider.residual("position_embedding.weight"),
        "lm_head.weight": wider.output(),
        "transformer.ln_f.weight": wider.gain("ln_f"),
        "transformer.ln_f.bias": wider.constant("ln_f"),
    }
    for layer in range(model.config["layer_num"]):
        parts = wider.block(f"blocks.{layer}.")
        weights |= {f"transformer.h.{layer}.{name}": tensor for name, tensor in parts.items()}
    return _config(model), {name: tensor.float() for name, tensor in weights.items()}


def _config(model: GPTLanguageModel) -> dict[str, Any]:
    sizes = model.config
    C, H = sizes["emb_size"], sizes["head_num"]
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": sizes["vocab_size"],
        "n_positions": sizes["block_size"],
        "n_embd": C + H,
        "n_inner": 4 * C,
        "n_layer": sizes["layer_num"],
        "n_head": H,
        "activation_function": "gelu",
        "layer_norm_epsilon": model.ln_f.eps * C / (C + H),
        "attn_pdrop": sizes["dropout"],
        "resid_pdrop": sizes["dropout"],
        "embd_pdrop": 0.0,
        "tie_word_embeddings": False,
    }


class _WiderModel:
    """The weights of a classic model, C + H channels wide, in fp64 and in GPT-2's order.

    GPT-2 multiplies from the right: its matrices are (inputs, outputs).
    """

    def __init__(self, model: GPTLanguageModel) -> None:
        sizes = model.config
        self.C, self.H = sizes["emb_size"], sizes["head_num"]
        self.D, self.wide = self.C // self.H, self.C + self.H
        self.old = {name: tensor.double().cpu() for name, tensor in model.state_dict().items()}

    def residual(self, name: str) -> Tensor:
        """Widen (..., C), which is added to the residual stream, to (..., wide)."""
        tensor = self.old[name]
        return pad(tensor - tensor.mean(dim=-1, keepdim=True), (0, self.H))

    def projection(self, name: str) -> Tensor:
        """Widen (C, n), whose outputs are added to the residual stream, to (n, wide)."""
        weight = self.old[name].t()
        return pad(weight - weight.mean(dim=-1, keepdim=True), (0, self.H))

    def gain(self, name: str) -> Tensor:
        """Widen and scale the gain of a LayerNorm, (C,) → (wide,)."""
        return pad(self.old[f"{name}.weight"] * (self.C / self.wide) ** 0.5, (0, self.H))

    def bias(self, name: str) -> Tensor:
        """Widen the bias of a LayerNorm, (C,) → (wide,)."""
        return pad(self.old[f"{name}.bias"], (0, self.H))

    def constant(self, name: str) -> Tensor:
        """Widen the bias of a LayerNorm, and make the first new channel 1."""
        bias = self.bias(name)
        bias[self.C] = 1.0
        return bias

    def output(self) -> Tensor:
        """Widen the output layer, (V, C) → (V, wide); its bias multiplies the constant channel."""
        output = pad(self.old["lm_head.weight"], (0, self.H))
        output[:, self.C] = self.old["lm_head.bias"]
        return output

    def qkv(self, name: str) -> Tensor:
        """Widen each head of queries, keys and values, (3 C, C) → (wide, 3 wide)."""
        heads = self.old[name].view(3, self.H, self.D, self.C).clone()
        heads[0] *= ((self.D + 1) / self.D) ** 0.5
        return pad(heads, (0, self.H, 0, 1)).reshape(3 * self.wide, self.wide).t()

    def heads_to_residual(self, name: str) -> Tensor:
        """Widen each head of the inputs, (C, C) → (wide, wide)."""
        heads = self.projection(name).view(self.H, self.D, self.wide)
        return pad(heads, (0, 0, 0, 1)).reshape(self.wide, self.wide)

    def block(self, old: str) -> dict[str, Tensor]:
        """Widen all weights of a block, whose names begin with `old`."""
        return {
            "attn.c_attn.weight": self.qkv(f"{old}attn.qkv.weight"),
            "attn.c_attn.bias": torch.zeros(3 * self.wide),
            "attn.c_proj.weight": self.heads_to_residual(f"{old}attn.proj.weight"),
            "attn.c_proj.bias": self.residual(f"{old}attn.proj.bias"),
            "mlp.c_fc.weight": pad(self.old[f"{old}mlp.fc.weight"], (0, self.H)).t(),
            "mlp.c_fc.bias": self.old[f"{old}mlp.fc.bias"],
            "mlp.c_proj.weight": self.projection(f"{old}mlp.proj.weight"),
            "mlp.c_proj.bias": self.residual(f"{old}mlp.proj.bias"),
            "ln_1.weight": self.gain(f"{old}ln_1"),
            "ln_1.bias": self.bias(f"{old}ln_1"),
            "ln_2.weight": self.gain(f"{old}ln_2"),
            "ln_2.bias": self.bias(f"{old}ln_2"),
        }
