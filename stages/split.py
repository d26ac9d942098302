"""data/poems.jsonl → data/train.jsonl, data/val.jsonl and data/val_twins.json."""

from nanopoet.files import write_json
from nanopoet.params import load_params
from nanopoet.poems import read_poems, write_poems
from nanopoet.split import split_data
from nanopoet.twins import twins_in
from stages.stage import run


def main() -> None:
    params = load_params()
    train, val = split_data(
        read_poems("data/poems.jsonl"), params.split.val_every, twins=params.split.twins
    )
    twins = twins_in(val, train)
    figures = {}
    for name, poems in (("train", train), ("val", val)):
        write_poems(f"data/{name}.jsonl", poems)
        figures[f"{name}_poems"] = len(poems)
        figures[f"{name}_characters"] = sum(len(poem["content"]) for poem in poems)
    write_json("data/val_twins.json", twins)
    figures |= {"val_exact_twins": twins.count("exact"), "val_near_twins": twins.count("near")}
    write_json("metrics/split.json", figures)
    print(
        f"split: data/train.jsonl, {len(train):,} poems with {figures['train_characters']:,} "
        f"characters; data/val.jsonl, {len(val):,} with {figures['val_characters']:,}, of which "
        f"{figures['val_exact_twins']:,} have an exact and {figures['val_near_twins']:,} a near "
        f"twin in train (data/val_twins.json)"
    )


if __name__ == "__main__":
    run(main)
