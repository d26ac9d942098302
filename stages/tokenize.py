"""Stage `tokenize`: data/train.jsonl, data/val.jsonl → data/vocab.json."""

from itertools import chain

from nanopoet.common.files import write_json
from nanopoet.corpus.poems import iter_poems
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, CharTokenizer
from stages.runner import run


def main() -> None:
    """Collect the characters of both parts as a vocabulary."""
    poems = chain(iter_poems("data/train.jsonl"), iter_poems("data/val.jsonl"))
    tokenizer = CharTokenizer(poems)
    tokenizer.save("data/vocab.json")
    figures = {
        "characters": len(tokenizer.characters),
        "special_tokens": len(SPECIAL_TOKENS),
        "vocab_size": tokenizer.vocab_size,
    }
    write_json("metrics/tokenize.json", figures)
    print(
        f"tokenize: data/vocab.json, {figures['vocab_size']:,} tokens: {figures['characters']:,} "
        f"characters and {figures['special_tokens']} special ones"
    )


if __name__ == "__main__":
    run(main)
