"""The evaluation of a model that takes requests: its figures, its poems, and their judgement."""

from pathlib import Path

from nanopoet.common.device import choose_device, choose_precision, keep_freed_memory
from nanopoet.common.files import write_json, write_text
from nanopoet.common.text import as_lines
from nanopoet.corpus.poems import read_poems
from nanopoet.evaluation.asked import asked_figures
from nanopoet.evaluation.requests import evaluate_requests, shuffled, write_alike
from nanopoet.evaluation.verse import Corpus, judge, verse_figures
from nanopoet.models.checkpoint import load_model
from nanopoet.param_sections import Params
from nanopoet.prosody.forms import FORMS, regular_style
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.writing.catalogue import CATALOGUE, Catalogue

EXAMPLES = 8
"""Requests of people's poems that the report shows."""


def evaluate_asking(stage: str, params: Params, folder: Path, samples: Path, asked: Path) -> None:
    """Score poems with some of their fields, ask for poems, and judge what the model writes.

    Args:
        stage: its metrics are written to `metrics/<stage>.json`.
        params: of the pipeline.
        folder: of the model.
        samples: file for the poems that nothing was asked of.
        asked: file for all poems, the model's and people's, by the form that was asked for.
    """
    keep_freed_memory()
    options, count = params.evaluate, params.evaluate.sample_count
    model, tokenizer = load_model(folder)
    train, val = read_poems("data/train.jsonl"), read_poems("data/val.jsonl")
    device = choose_device(options.device, "params.yaml: evaluate.device")
    precision, _ = choose_precision(options.precision, device)
    catalogue = Catalogue.load(folder / CATALOGUE)
    figures, poems = evaluate_requests(model, tokenizer, catalogue, val, options, device, precision)
    tokens = TokenArrays.load("data/train", tokenizer.vocab_size)
    corpus = Corpus.of(train, tokens, tokenizer, params.baseline.order)
    texts = [poem["content"] for poem in shuffled(val, options.seed)]
    people = {
        form.style: [text for text in texts if regular_style(text) == form.style][:count]
        for form in FORMS.values()
    }
    sources = {"model": poems, "human": people}
    by_source = {(name, style): each[style] for name, each in sources.items() for style in each}
    judged = judge(by_source, train)
    figures["verse"] = {"model": verse_figures(judged["model", ""], corpus)}
    figures["asked"] = {
        name: asked_figures({style: judged[name, style] for style in people}, corpus)
        for name in sources
    }

    write_json(f"metrics/{stage}.json", figures)
    write_json(asked, sources)
    write_text(samples, "\n\n".join(map(as_lines, poems[""])) + "\n")
    mean = figures["asked"]["model"]["mean"]
    # A model that writes no regular poem leaves the other shares without an answer.
    form, rhyme, tones = (mean[name] or 0.0 for name in ("form", "rhyme", "regulated"))
    print(
        f"{stage}: {figures['nats_per_character']:.4f} nats per character; asked for a form, "
        f"{form:.1%} of the poems have it, of these {rhyme:.1%} rhyme and {tones:.1%} keep all "
        f"tones; {count:,} poems in {samples}, all in {asked}"
    )


def write_examples(path: str, models: dict[str, Path], params: Params) -> None:
    """Write poems by people, and by each model for the same requests and random numbers.

    Args:
        path: the file.
        models: name → folder.
        params: of the pipeline.
    """
    options = params.evaluate
    device = choose_device(options.device, "params.yaml: evaluate.device")
    precision, _ = choose_precision(options.precision, device)
    people = shuffled(read_poems("data/val.jsonl"), options.seed)[:EXAMPLES]
    written = {
        name: write_alike(*load_model(folder), people, options, device, precision)
        for name, folder in models.items()
    }
    rows = [
        {"people": poem} | {name: poems[i] for name, poems in written.items()}
        for i, poem in enumerate(people)
    ]
    write_json(path, {"requests": rows})
