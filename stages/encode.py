"""Stage `encode`: data/train.jsonl, data/val.jsonl → token arrays in data/train/, data/val/."""

from nanopoet.common.errors import FileError
from nanopoet.common.files import write_json
from nanopoet.corpus.poems import iter_poems
from nanopoet.params import load_params
from nanopoet.tokens.encode import UnknownCharacterError, encode_to
from nanopoet.tokens.tokenizer import CharTokenizer
from stages.runner import run

VOCABULARY = "data/vocab.json"


def main() -> None:
    """Encode both parts with the vocabulary."""
    params = load_params()
    tokenizer = CharTokenizer.load(VOCABULARY)
    figures = {}
    for name in ("train", "val"):
        poems = iter_poems(f"data/{name}.jsonl")
        try:
            arrays = encode_to(f"data/{name}", poems, tokenizer, params.encode.separators)
        except UnknownCharacterError as error:
            raise FileError(
                VOCABULARY, f"lacks a character of data/{name}.jsonl, {error}"
            ) from None
        figures[f"{name}_tokens"] = len(arrays.tokens)
        figures[f"{name}_characters"] = int(arrays.characters.sum())
    write_json("metrics/encode.json", figures | {"dtype": tokenizer.dtype.name})
    print(
        f"encode: data/train/, {figures['train_tokens']:,} tokens; data/val/, "
        f"{figures['val_tokens']:,}; {tokenizer.dtype.name}"
    )


if __name__ == "__main__":
    run(main)
