"""A trained model as one GGUF file, which llama.cpp and what is built on it load.

The format is https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Of llama.cpp's
tokenizers "t5", a unigram model, makes an unknown character U, where "llama" spells it
out in bytes and "gpt2" leaves it out. As no token is longer than a character, the scores
that a unigram model goes by decide nothing.
"""

from contextlib import closing
from pathlib import Path

import gguf
from gguf import GGUFWriter, LlamaFileType, TokenType

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import atomic_write
from nanopoet.export.huggingface import NAMES
from nanopoet.export.to_qwen3 import as_qwen3
from nanopoet.models.base import LanguageModel
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.tokens.tokenizer import BEGIN, PADDING, SPECIAL_TOKENS, UNKNOWN, CharTokenizer

SPACE = "▁"
"""What stands for a space in the vocabulary of a unigram model (U+2581)."""


def export_gguf(model: LanguageModel, tokenizer: CharTokenizer, path: str | Path) -> None:
    """Write a GGUF file with fp32 weights.

    Args:
        model: a modern one, which becomes Qwen3.
        tokenizer: its vocabulary.
        path: a new name; the file is there when it is whole.

    Raises:
        NanopoetError: there is something of that name, or llama.cpp has nothing that computes
            the same or reads the same characters.
    """
    path = Path(path)
    if path.exists():
        raise NanopoetError(f"{path}: exists; name another file, or remove it")
    if not isinstance(model, Qwen3LanguageModel):
        raise NanopoetError(
            f"{path}: the {model.config['architecture']} architecture has no counterpart in "
            "llama.cpp, whose GPT-2 approximates GELU by a tanh and would give other logits; "
            "export it to Hugging Face format, or train with pretrain.architecture: modern"
        )
    for character in ("\0", SPACE):
        if character in tokenizer.characters:
            raise NanopoetError(
                f"{path}: the vocabulary holds U+{ord(character):04X}, which llama.cpp cannot "
                "tell from the end of a text or a space; export to Hugging Face format, or "
                "remove it from the poems and train again"
            )
    qwen3 = gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN3]
    # The library opens the temporary file by its name once more.
    with atomic_write(path) as file, closing(GGUFWriter(file.name, qwen3)) as writer:
        _add_model(writer, model)
        _add_vocabulary(writer, tokenizer)
        _add_sampling(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


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
        theirs = names.get_name(name, try_suffixes=(".weight",))
        assert theirs, name
        writer.add_tensor(theirs, tensor.contiguous().numpy())


def _add_vocabulary(writer: GGUFWriter, tokenizer: CharTokenizer) -> None:
    characters = [SPACE if character == " " else character for character in tokenizer.characters]
    types = [TokenType.UNKNOWN if t == UNKNOWN else TokenType.CONTROL for t in SPECIAL_TOKENS]
    begin = SPECIAL_TOKENS.index(BEGIN)
    writer.add_tokenizer_model("t5")
    writer.add_token_list([NAMES[token] for token in SPECIAL_TOKENS] + characters)
    writer.add_token_types(types + [TokenType.NORMAL] * len(characters))
    writer.add_token_scores([0.0] * tokenizer.vocab_size)
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(begin)
    writer.add_pad_token_id(SPECIAL_TOKENS.index(PADDING))
    writer.add_unk_token_id(SPECIAL_TOKENS.index(UNKNOWN))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)


def _add_sampling(writer: GGUFWriter) -> None:
    """Set llama.cpp's defaults to sampling from all tokens, as `nanopoet.models.generate` does."""
    writer.add_sampling_temp(1.0)
    writer.add_sampling_top_k(0)
    writer.add_sampling_top_p(1.0)
    writer.add_sampling_min_p(0.0)
