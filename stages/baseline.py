"""Stage `baseline`: data/train/, data/val/ → losses and poems of an n-gram model."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from nanopoet.common.device import keep_freed_memory
from nanopoet.common.files import write_json
from nanopoet.corpus.poems import iter_poems
from nanopoet.evaluation.kneser_ney import KneserNey
from nanopoet.evaluation.prediction import loss_figures, per_character_by_form, sum_by_poem
from nanopoet.params import load_params
from nanopoet.prosody.forms import verse_form
from nanopoet.tokens.dataset import TokenArrays, target_stream
from nanopoet.tokens.tokenizer import BEGIN_ID, CharTokenizer
from stages.runner import run

POEMS = Path("data/baseline_poems.json")


def main() -> None:
    """Fit n-gram models up to `baseline.order`, score the validation part, and write poems."""
    params = load_params()
    keep_freed_memory()
    tokenizer = CharTokenizer.load("data/vocab.json")
    train, val = (
        TokenArrays.load(f"data/{part}", tokenizer.vocab_size) for part in ("train", "val")
    )
    model = KneserNey(target_stream(train)[1:], tokenizer.vocab_size, params.baseline.order)
    forms = [verse_form(p["content"], p["style"]) for p in iter_poems("data/val.jsonl")]
    figures: dict[str, dict[str, Any]] = {}
    figures["uniform"] = {"nats_per_character": math.log(tokenizer.vocab_size)}
    for order, nats in enumerate(model.nats(target_stream(val)[1:]), start=1):
        by_poem = sum_by_poem(nats, val.offsets)
        figures[f"kneser_ney_{order}"] = loss_figures(by_poem, val.characters) | {
            "nats_per_character_by_form": per_character_by_form(by_poem, val.characters, forms)
        }
    rng = np.random.default_rng(params.evaluate.seed)
    ids = model.generate(params.evaluate.sample_count, params.evaluate.sample_length, rng)
    poems = [tokenizer.decode_poem([BEGIN_ID, *row]) for row in ids.tolist()]
    write_json(POEMS, poems)
    write_json("metrics/baseline.json", figures)
    best = figures[f"kneser_ney_{model.order}"]["nats_per_character"]
    print(
        f"baseline: {best:.4f} nats per character by Kneser–Ney of order {model.order}; "
        f"{len(poems):,} poems in {POEMS}"
    )


if __name__ == "__main__":
    run(main)
