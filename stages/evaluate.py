"""Stage `evaluate`: models/poet/, data/val/ → loss on every character, poems and their rules."""

from pathlib import Path

from nanopoet.common.device import choose_device, choose_precision, keep_freed_memory
from nanopoet.common.files import write_json, write_text
from nanopoet.common.text import as_lines
from nanopoet.corpus.poems import load_duplicates, read_poems, read_texts
from nanopoet.evaluation.prediction import prediction_figures
from nanopoet.evaluation.sample_poems import sample_poems
from nanopoet.evaluation.scoring import score_tokens
from nanopoet.evaluation.verse import Corpus, draw_texts, examples, judge, verse_figures
from nanopoet.models.checkpoint import load_model
from nanopoet.params import load_params
from nanopoet.prosody.forms import verse_form
from nanopoet.tokens.dataset import TokenArrays
from stages.runner import run
from stages.tracking.uploader import publish

MODEL = Path("models/poet")
SAMPLES = Path("data/samples.txt")


def main() -> None:
    """Score the validation part, write poems, judge them by the rules, and write all results."""
    params = load_params()
    keep_freed_memory()
    options = params.evaluate
    model, tokenizer = load_model(MODEL)
    val = TokenArrays.load("data/val", tokenizer.vocab_size)
    val_poems = read_poems("data/val.jsonl")
    forms = [verse_form(poem["content"], poem["style"]) for poem in val_poems]
    device = choose_device(options.device, "params.yaml: evaluate.device")
    precision, _ = choose_precision(options.precision, device)

    scores = score_tokens(
        model,
        val,
        context=options.context,
        batch_size=options.batch_size,
        device=device,
        precision=precision,
    )
    duplicates = load_duplicates("data/val_duplicates.json", len(val_poems))
    figures = prediction_figures(scores, tokenizer, forms, duplicates, options.seed)
    written = sample_poems(
        model,
        tokenizer,
        count=options.sample_count,
        length=options.sample_length,
        temperature=options.temperature,
        seed=options.seed,
        device=device,
        precision=precision,
    )
    sources = {
        "model": written,
        "human": draw_texts(val_poems, options.sample_count, options.sample_length, options.seed),
        "ngram": read_texts("data/baseline_poems.json"),
    }
    train = read_poems("data/train.jsonl")
    judged = judge(sources, train)
    tokens = TokenArrays.load("data/train", tokenizer.vocab_size)
    corpus = Corpus.of(train, tokens, tokenizer, params.baseline.order)
    figures["verse"] = {name: verse_figures(poems, corpus) for name, poems in judged.items()}

    write_json("metrics/evaluate.json", figures)
    write_json("data/verse.json", sources)
    write_json("data/examples.json", {name: examples(poems) for name, poems in judged.items()})
    by_form = figures["nats_per_character_by_form"].items()
    rows = [f"{form},{value}\n" for form, value in by_form]
    write_text("data/loss_by_form.csv", "".join(["form,nats_per_character\n", *rows]))
    write_text(SAMPLES, "\n\n".join(map(as_lines, written)) + "\n")
    publish("pretrain", params)
    regular = figures["verse"]["model"]["regular"]
    print(
        f"evaluate: {figures['nats_per_character']:.4f} nats per character, perplexity "
        f"{figures['perplexity']:.1f}, over {figures['val_characters']:,} characters; "
        f"{regular:.0%} of {len(written):,} poems in a regular form, in {SAMPLES}"
    )


if __name__ == "__main__":
    run(main)
