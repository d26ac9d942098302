"""Stage `split`: data/poems.jsonl → data/train.jsonl, data/val.jsonl, data/val_duplicates.json."""

from tqdm import tqdm

from nanopoet.common.files import write_json
from nanopoet.corpus.counts import CorpusCounts
from nanopoet.corpus.duplicates import duplicates_across
from nanopoet.corpus.poems import PoemsFile, write_poems
from nanopoet.corpus.split import split_positions, without_duplicates
from nanopoet.params import load_params
from stages.runner import run


def main() -> None:
    """Divide the poems, and find validation poems with a duplicate in the training part."""
    params = load_params()
    figures = {}
    with PoemsFile("data/poems.jsonl") as poems:
        order, in_val = split_positions(poems, params.split.val_every)
        duplicates = duplicates_across(poems, order[in_val], scratch="data")
        if params.split.duplicates == "together":
            in_val = without_duplicates(in_val, duplicates)
            duplicates = [duplicate for duplicate in duplicates if duplicate is None]
        for name, places in (("train", order[~in_val]), ("val", order[in_val])):
            part = CorpusCounts()
            bar = tqdm(places, unit="poem", disable=None, desc=f"writing data/{name}.jsonl")
            write_poems(f"data/{name}.jsonl", part.watch(poems[i] for i in bar))
            counted = part.figures()
            figures[f"{name}_poems"] = counted["poems"]
            figures[f"{name}_characters"] = counted["content_characters"]
    write_json("data/val_duplicates.json", duplicates)
    figures |= {
        "val_exact_duplicates": duplicates.count("exact"),
        "val_near_duplicates": duplicates.count("near"),
    }
    write_json("metrics/split.json", figures)
    print(
        f"split: data/train.jsonl, {figures['train_poems']:,} poems with "
        f"{figures['train_characters']:,} characters; data/val.jsonl, {figures['val_poems']:,} "
        f"with {figures['val_characters']:,}; {figures['val_exact_duplicates']:,} of the latter "
        f"have an exact duplicate in train and {figures['val_near_duplicates']:,} a near-duplicate "
        f"(data/val_duplicates.json)"
    )


if __name__ == "__main__":
    run(main)
