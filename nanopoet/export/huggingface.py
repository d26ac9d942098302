"""Export of a trained model as a folder for Hugging Face `transformers`, without code of ours.

config.json, model.safetensors               the model in fp32, as Qwen3 or GPT-2
tokenizer.json, tokenizer_config.json        the vocabulary, one token per character
generation_config.json                       defaults of sampling
README.md                                    the model card
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import atomic_write, write_json, write_text
from nanopoet.export.to_gpt2 import as_gpt2
from nanopoet.export.to_qwen3 import as_qwen3
from nanopoet.models.base import LanguageModel
from nanopoet.models.gpt import GPTLanguageModel
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.tokens.tokenizer import (
    AUTHOR,
    AUTHOR_END,
    BEGIN,
    BEGIN_ID,
    CONTENT,
    CONTENT_END,
    PADDING,
    PADDING_ID,
    SPECIAL_TOKENS,
    STYLE,
    STYLE_END,
    TITLE,
    TITLE_END,
    UNKNOWN,
    CharTokenizer,
)

NAMES = {
    BEGIN: "<begin>",
    PADDING: "<pad>",
    UNKNOWN: "<unk>",
    AUTHOR: "<author>",
    AUTHOR_END: "</author>",
    STYLE: "<style>",
    STYLE_END: "</style>",
    TITLE: "<title>",
    TITLE_END: "</title>",
    CONTENT: "<content>",
    CONTENT_END: "</content>",
}
"""Names of the special tokens in exported vocabularies.

They are longer than a character, so that no character of a text is one of them.
"""


def export_huggingface(model: LanguageModel, tokenizer: CharTokenizer, folder: str | Path) -> None:
    """Write a folder that `transformers`' AutoModelForCausalLM and AutoTokenizer load.

    Args:
        model: the modern architecture becomes Qwen3, the classic one GPT-2, with the same logits.
        tokenizer: its vocabulary.
        folder: a new name, or an empty folder other than the current one. A link to one will do.
            The files appear there when all are whole.

    Raises:
        NanopoetError: the name is taken.
    """
    folder = Path(folder)
    is_empty = folder.is_dir() and not any(folder.iterdir()) and not folder.samefile(Path.cwd())
    if not is_empty and (folder.exists() or folder.is_symlink()):
        raise NanopoetError(
            f"{folder}: exists; an export goes to a new or empty folder, not to the current one: "
            "name another one, or remove what is there"
        )
    folder = folder.resolve()
    config, weights = _converted(model)
    ids = {"bos_token_id": BEGIN_ID, "eos_token_id": model.stop_id, "pad_token_id": PADDING_ID}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(".partial", f".{folder.name}.", folder.parent) as scratch:
        whole = Path(scratch) / "whole"
        write_json(whole / "config.json", config | ids | {"dtype": "float32"})
        with atomic_write(whole / "model.safetensors") as file:
            contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
            file.write(safetensors.torch.save(contiguous, {"format": "pt"}))
        write_text(whole / "tokenizer.json", character_tokenizer(tokenizer).to_str() + "\n")
        write_json(whole / "tokenizer_config.json", _tokenizer_config(model))
        write_json(whole / "generation_config.json", ids | _generation(model))
        write_text(whole / "README.md", _model_card(model, config))
        whole.replace(folder)


def request_text(author: str = "", style: str = "", title: str = "") -> str:
    """Return the text that asks an exported model for a poem, as `encode_request` does in ids.

    >>> request_text(author="李白", title="月")
    '<author>李白</author><title>月</title><content>'
    """
    fields = ((AUTHOR, author, AUTHOR_END), (STYLE, style, STYLE_END), (TITLE, title, TITLE_END))
    asked = "".join(f"{NAMES[begin]}{text}{NAMES[end]}" for begin, text, end in fields if text)
    return asked + NAMES[CONTENT]


def never_written(model: LanguageModel) -> list[int]:
    """Return the ids that no poem has. Other programs suppress them, as `generate` does."""
    return [i for i in range(len(SPECIAL_TOKENS)) if i != model.stop_id]


def character_tokenizer(tokenizer: CharTokenizer) -> Tokenizer:
    """Make the same vocabulary for the `tokenizers` library, which puts BEGIN before a text."""
    names = [NAMES[token] for token in SPECIAL_TOKENS]
    special = [AddedToken(name, normalized=False, special=True) for name in names]
    vocab = {token: id_ for id_, token in enumerate([*names, *tokenizer.characters])}
    # Without merges, byte pair encoding leaves each character by itself.
    converted = Tokenizer(models.BPE(vocab, [], unk_token=NAMES[UNKNOWN], fuse_unk=False))
    converted.add_special_tokens(special)
    converted.post_processor = processors.TemplateProcessing(
        single=f"{NAMES[BEGIN]} $A",
        pair=f"{NAMES[BEGIN]} $A {NAMES[BEGIN]} $B",
        special_tokens=[(NAMES[BEGIN], vocab[NAMES[BEGIN]])],
    )
    converted.decoder = decoders.Fuse()
    return converted


def _converted(model: LanguageModel) -> tuple[dict[str, Any], dict[str, Any]]:
    if isinstance(model, Qwen3LanguageModel):
        return as_qwen3(model)
    assert isinstance(model, GPTLanguageModel)
    return as_gpt2(model)


def _tokenizer_config(model: LanguageModel) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": NAMES[BEGIN],
        "eos_token": NAMES[SPECIAL_TOKENS[model.stop_id]],
        "pad_token": NAMES[PADDING],
        "unk_token": NAMES[UNKNOWN],
        "model_max_length": model.block_size,
        "padding_side": "left",
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        # A poem may hold "<title>" as text. A request is written in these tokens.
        "split_special_tokens": not model.takes_fields,
    }


def _generation(model: LanguageModel) -> dict[str, Any]:
    """Make `transformers` sample from all characters, as `nanopoet.models.generate` does.

    A text ends at `block_size`, the number of positions of the model.
    """
    sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return sampling | {"suppress_tokens": never_written(model), "max_length": model.block_size}


def _model_card(model: LanguageModel, config: dict[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("nanopoet", "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown without any text of a user
        keep_trailing_newline=True,
    )
    return environment.get_template("model_card.md.jinja").render(
        model=model, architecture=config["architectures"][0]
    )
