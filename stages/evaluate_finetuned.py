"""Stage `evaluate_finetuned`: models/finetuned/ → what fields tell it, and poems for requests."""

from pathlib import Path

from nanopoet.common.device import choose_device, choose_precision, keep_freed_memory
from nanopoet.common.files import write_json, write_text
from nanopoet.common.text import as_lines
from nanopoet.corpus.poems import read_poems
from nanopoet.evaluation.requests import evaluate_requests
from nanopoet.evaluation.verse import judge, verse_figures
from nanopoet.models.checkpoint import load_model
from nanopoet.params import load_params
from nanopoet.writing.catalogue import CATALOGUE, Catalogue
from stages.runner import run
from stages.tracking.uploader import publish

MODEL = Path("models/finetuned")
SAMPLES = Path("data/samples_finetuned.txt")
EXAMPLES = 8
"""Requests of people's poems that the report shows."""


def main() -> None:
    """Score poems with some of their fields, ask for poems, and judge what the model writes."""
    params = load_params()
    keep_freed_memory()
    options = params.evaluate
    model, tokenizer = load_model(MODEL)
    train, val = read_poems("data/train.jsonl"), read_poems("data/val.jsonl")
    device = choose_device(options.device)
    precision, _ = choose_precision(options.precision, device)
    figures, poems = evaluate_requests(
        model, tokenizer, Catalogue.load(MODEL / CATALOGUE), val, options, device, precision
    )
    judged = judge({"model": poems["free"]}, train)["model"]
    figures["verse"] = {"model": verse_figures(judged)}

    write_json("metrics/evaluate_finetuned.json", figures)
    pairs = [{"people": human, "model": text} for human, text in poems["asked"][:EXAMPLES]]
    write_json("data/requests.json", {"requests": pairs})
    write_text(SAMPLES, "\n\n".join(map(as_lines, poems["free"])) + "\n")
    publish("finetune", params)
    print(
        f"evaluate_finetuned: {figures['nats_per_character']:.4f} nats per character; asked for a "
        f"form, it writes it in {min(figures['forms'].values()):.0%} or more of the poems; "
        f"{len(poems['free']):,} poems in {SAMPLES}"
    )


if __name__ == "__main__":
    run(main)
