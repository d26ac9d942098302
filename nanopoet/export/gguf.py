"""Export of a trained model as one GGUF file, for llama.cpp and programs built on it.

The format is https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Of llama.cpp's tokenizers,
"t5" (a unigram model) maps an unknown character to U, while "llama" spells it out in bytes and
"gpt2" drops it. A unigram model chooses between tokens by score. Here every token is one
character, so there is no choice and all scores are 0.
"""

from contextlib import closing
from pathlib import Path

import gguf
from gguf import GGUFWriter, LlamaFileType, TokenType

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import atomic_write
from nanopoet.export.huggingface import NAMES, never_written
from nanopoet.export.to_qwen3 import as_qwen3
from nanopoet.models.base import LanguageModel
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.tokens.tokenizer import (
    BEGIN_ID,
    PADDING_ID,
    SPECIAL_TOKENS,
    UNKNOWN,
    UNKNOWN_ID,
    CharTokenizer,
)

SPACE = "▁"
"""The character for a space in the vocabulary of a unigram model, U+2581."""


def export_gguf(model: LanguageModel, tokenizer: CharTokenizer, path: str | Path) -> None:
    """Write a GGUF file with fp32 weights.

    Args:
        model: of the modern architecture, which becomes Qwen3.
        tokenizer: its vocabulary.
        path: a new name. The file appears there when it is whole.

    Raises:
        NanopoetError: the name is taken, or llama.cpp cannot compute the same logits or hold the
            same characters.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise NanopoetError(f"{path}: exists; name another file, or remove it")
    if not isinstance(model, Qwen3LanguageModel):
        raise NanopoetError(
            f"{path}: the {model.config['architecture']} architecture has no counterpart in "
            "llama.cpp, whose GPT-2 approximates GELU by a tanh and would give other logits; "
            "export it to Hugging Face format, or train with pretrain.architecture: modern"
        )
    _check_characters(tokenizer, path)
    qwen3 = gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN3]
    # The writer opens the temporary file once more, by its name.
    with atomic_write(path) as file, closing(GGUFWriter(file.name, qwen3)) as writer:
        _add_model(writer, model)
        _add_vocabulary(writer, tokenizer, model.stop_id)
        _add_sampling(writer, model)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def _check_characters(tokenizer: CharTokenizer, path: Path) -> None:
    """Refuse a vocabulary with a character that llama.cpp uses for something else."""
    for character in ("\0", SPACE):
        if character in tokenizer.characters:
            raise NanopoetError(
                f"{path}: the vocabulary holds U+{ord(character):04X}, which llama.cpp takes for "
                "the end of a text or a space; export to Hugging Face format, or remove it from "
                "the poems and train again"
            )


def _add_model(writer: GGUFWriter, model: Qwen3LanguageModel) -> None:
    config, weights = as_qwen3(model)
    layers = config["num_hidden_layers"]
    writer.add_file_type(LlamaFileType.ALL_F32)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, layers)
    for name, tensor in weights.items():
        gguf_name = names.get_name(name, try_suffixes=(".weight",))
        assert gguf_name, name
        writer.add_tensor(gguf_name, tensor.contiguous().numpy())


def _add_vocabulary(writer: GGUFWriter, tokenizer: CharTokenizer, stop_id: int) -> None:
    characters = [SPACE if character == " " else character for character in tokenizer.characters]
    types = [TokenType.UNKNOWN if t == UNKNOWN else TokenType.CONTROL for t in SPECIAL_TOKENS]
    writer.add_tokenizer_model("t5")
    writer.add_token_list([NAMES[token] for token in SPECIAL_TOKENS] + characters)
    writer.add_token_types(types + [TokenType.NORMAL] * len(characters))
    writer.add_token_scores([0.0] * tokenizer.vocab_size)
    writer.add_bos_token_id(BEGIN_ID)
    writer.add_eos_token_id(stop_id)
    writer.add_pad_token_id(PADDING_ID)
    writer.add_unk_token_id(UNKNOWN_ID)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)


def _add_sampling(writer: GGUFWriter, model: LanguageModel) -> None:
    """Make llama.cpp sample from all characters by default, as `nanopoet.models.generate` does."""
    writer.add_sampling_temp(1.0)
    writer.add_sampling_top_k(0)
    writer.add_sampling_top_p(1.0)
    writer.add_sampling_min_p(0.0)
    writer.add_array("tokenizer.ggml.suppress_tokens", never_written(model))
