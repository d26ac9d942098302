"""data/poems.jsonl → data/train.jsonl and data/val.jsonl."""

from nanopoet.files import write_json
from nanopoet.params import load_params
from nanopoet.poems import read_poems, write_poems
from nanopoet.split import split_data
from stages.stage import run


def main() -> None:
    params = load_params()
    train, val = split_data(read_poems("data/poems.jsonl"), params.split.val_every)
    figures = {}
    for name, poems in (("train", train), ("val", val)):
        write_poems(f"data/{name}.jsonl", poems)
        figures[f"{name}_poems"] = len(poems)
        figures[f"{name}_characters"] = sum(len(poem["content"]) for poem in poems)
    write_json("metrics/split.json", figures)
    print(
        f"split: data/train.jsonl, {len(train):,} poems with {figures['train_characters']:,} "
        f"characters; data/val.jsonl, {len(val):,} with {figures['val_characters']:,}"
    )


if __name__ == "__main__":
    run(main)
