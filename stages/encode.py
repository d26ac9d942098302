"""Stage `encode`: data/train.jsonl, data/val.jsonl → token arrays in data/train/, data/val/."""

from nanopoet.common.files import write_json
from nanopoet.corpus.poems import iter_poems
from nanopoet.params import load_params
from nanopoet.tokens.encode import encode_to
from nanopoet.tokens.tokenizer import CharTokenizer
from stages.runner import run


def main() -> None:
    """Encode both parts with the vocabulary."""
    params = load_params()
    tokenizer = CharTokenizer.load("data/vocab.json")
    figures = {}
    for name in ("train", "val"):
        poems = iter_poems(f"data/{name}.jsonl")
        arrays = encode_to(f"data/{name}", poems, tokenizer, params.encode.separators)
        figures[f"{name}_tokens"] = len(arrays.tokens)
        figures[f"{name}_characters"] = int(arrays.characters.sum())
    write_json("metrics/encode.json", figures | {"dtype": tokenizer.dtype.name})
    print(
        f"encode: data/train/, {figures['train_tokens']:,} tokens; data/val/, "
        f"{figures['val_tokens']:,}; {tokenizer.dtype.name}"
    )


if __name__ == "__main__":
    run(main)
