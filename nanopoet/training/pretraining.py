"""The start of a pretraining: a new model, what it knows before its first step, and its trainer."""

import torch

from nanopoet.common.types import Array
from nanopoet.models.base import LanguageModel
from nanopoet.models.previous_token_heads import add_previous_token_heads
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.models.registry import make_model
from nanopoet.param_sections import PretrainParams
from nanopoet.tokens.tokenizer import BEGIN, CharTokenizer
from nanopoet.training.bigram_start import start_as_bigram_model
from nanopoet.training.second_losses import rhyme_distinct_loss, rhyme_loss
from nanopoet.training.task import pretraining
from nanopoet.training.trainer import Trainer


def make_trainer(
    train_tokens: Array, val_tokens: Array, tokenizer: CharTokenizer, params: PretrainParams
) -> Trainer:
    """Build the trainer of a new model by a recipe.

    Args:
        train_tokens: (n,) ids; more than `block_size` of them.
        val_tokens: (m,) ids; more than `block_size` of them.
        tokenizer: its vocabulary.
        params: the recipe.

    Raises:
        NanopoetError: the training or validation part is too short, or the device is missing.
    """
    model = build_model(tokenizer.vocab_size, params)
    warm_start(model, train_tokens, tokenizer, params)
    task = pretraining(train_tokens, val_tokens, tokenizer, params)
    return Trainer(model, task, tokenizer, params)


def build_model(vocab_size: int, params: PretrainParams) -> LanguageModel:
    """Make the untrained model of a recipe.

    Args:
        vocab_size: V, number of token ids.
        params: the recipe. Its seed decides the weights.
    """
    config = {
        "architecture": params.architecture,
        "vocab_size": vocab_size,
        "emb_size": params.emb_size,
        "block_size": params.block_size,
        "layer_num": params.layer_num,
        "head_num": params.head_num,
        "dropout": params.dropout,
    }
    if params.architecture == "modern":
        config |= {"kv_head_num": params.kv_head_num, "mlp_size": params.mlp_size}
    generator = torch.Generator().manual_seed(params.seed)
    model = make_model(config, generator)
    if params.previous_token_heads and isinstance(model, Qwen3LanguageModel):
        add_previous_token_heads(model, params.previous_token_heads, generator)
    model.activation_checkpointing = params.activation_checkpointing
    return model


def warm_start(
    model: LanguageModel, train_tokens: Array, tokenizer: CharTokenizer, params: PretrainParams
) -> None:
    """Give an untrained model the start and the second losses that its recipe asks for.

    The start from bigrams changes the embedding and the output layer of a modern model. The second
    losses ask for the rhyme group, and whether a rhyme character comes back.

    Args:
        model: is changed in place.
        train_tokens: (n,) ids.
        tokenizer: its vocabulary.
        params: the recipe. Its seed decides the random numbers.
    """
    if params.initial_weights == "bigrams" and isinstance(model, Qwen3LanguageModel):
        generator = torch.Generator().manual_seed(params.seed)
        start_as_bigram_model(model, train_tokens, generator)
    if params.rhyme_weight > 0:
        model.second_losses.append(rhyme_loss(tokenizer, params.rhyme_weight))
    if params.rhyme_distinct_weight > 0:
        loss = rhyme_distinct_loss(tokenizer, params.rhyme_distinct_weight, BEGIN)
        model.second_losses.append(loss)
