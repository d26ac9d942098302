"""data/poems.jsonl → data/train.jsonl, data/val.jsonl and data/val_twins.json."""

from tqdm import tqdm

from nanopoet.files import write_json
from nanopoet.params import load_params
from nanopoet.poems import PoemsFile, write_poems
from nanopoet.split import split_positions, without_twins
from nanopoet.statistics import CorpusStatistics
from nanopoet.twins import twins_across
from stages.stage import run


def main() -> None:
    params = load_params()
    figures = {}
    with PoemsFile("data/poems.jsonl") as poems:
        order, in_val = split_positions(poems, params.split.val_every)
        twins = twins_across(poems, order[in_val], scratch="data")
        if params.split.twins == "together":
            in_val = without_twins(in_val, twins)
            twins = [twin for twin in twins if twin is None]
        for name, places in (("train", order[~in_val]), ("val", order[in_val])):
            statistics = CorpusStatistics()
            bar = tqdm(places, unit="poem", disable=None, desc=f"writing data/{name}.jsonl")
            write_poems(f"data/{name}.jsonl", statistics.watch(poems[i] for i in bar))
            counted = statistics.figures()
            figures[f"{name}_poems"] = counted["poems"]
            figures[f"{name}_characters"] = counted["content_characters"]
    write_json("data/val_twins.json", twins)
    figures |= {"val_exact_twins": twins.count("exact"), "val_near_twins": twins.count("near")}
    write_json("metrics/split.json", figures)
    print(
        f"split: data/train.jsonl, {figures['train_poems']:,} poems with "
        f"{figures['train_characters']:,} characters; data/val.jsonl, {figures['val_poems']:,} "
        f"with {figures['val_characters']:,}, of which {figures['val_exact_twins']:,} have an "
        f"exact and {figures['val_near_twins']:,} a near twin in train (data/val_twins.json)"
    )


if __name__ == "__main__":
    run(main)
