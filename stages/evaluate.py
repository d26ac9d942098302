"""models/poet/ and the validation poems → metrics/evaluate.json, poems, loss by form."""

from pathlib import Path

from nanopoet.checkpoint import load_model
from nanopoet.corpus import verse_form
from nanopoet.device import choose_device, choose_precision, keep_freed_memory
from nanopoet.evaluate import nats_by_form, poem_nats, prediction_figures, write_poems
from nanopoet.files import atomic_write, write_json
from nanopoet.generate import as_lines
from nanopoet.params import load_params
from nanopoet.poems import iter_poems
from nanopoet.tensors import TokenArrays
from nanopoet.twins import load_twins
from stages import tracking
from stages.account import Evaluation, flat_params
from stages.stage import run

MODEL = Path("models/poet")
SAMPLES = Path("data/samples.txt")
FORMS = Path("data/loss_by_form.csv")


def main() -> None:
    params = load_params()
    keep_freed_memory()
    options = params.evaluate
    model, tokenizer = load_model(MODEL)
    val = TokenArrays.load("data/val")
    device = choose_device(options.device)
    precision, _ = choose_precision(options.precision, device)
    nats = poem_nats(
        model,
        val,
        context=options.context,
        batch_size=options.batch_size,
        device=device,
        precision=precision,
    )
    poems = write_poems(
        model,
        tokenizer,
        count=options.sample_count,
        length=options.sample_length,
        temperature=options.temperature,
        seed=options.seed,
        device=device,
    )
    figures = prediction_figures(nats, val.characters, load_twins("data/val_twins.json", len(nats)))
    forms = nats_by_form(nats, val.characters, list(map(verse_form, iter_poems("data/val.jsonl"))))
    write_json("metrics/evaluate.json", figures | {"nats_per_character_by_form": forms})
    with atomic_write(FORMS) as file:
        rows = [f"{form},{value}\n" for form, value in forms.items()]
        file.write("".join(["form,nats_per_character\n", *rows]).encode())
    samples = "\n\n".join(map(as_lines, poems)) + "\n"
    with atomic_write(SAMPLES) as file:
        file.write(samples.encode())
    own = {n: v for n, v in flat_params(params).items() if n.startswith("evaluate.")}
    tracking.log_evaluation(params, MODEL, Evaluation(own, figures, forms, samples))
    print(
        f"evaluate: {figures['nats_per_character']:.4f} nats per character, e^loss "
        f"{figures['hesitation']:.1f}, over {figures['val_characters']:,} characters; poems in "
        f"{SAMPLES}"
    )


if __name__ == "__main__":
    run(main)
