"""models/poet/ and the validation poems → metrics/evaluate.json, data/samples.txt."""

from pathlib import Path

from nanopoet.checkpoint import load_model
from nanopoet.device import choose_device, choose_precision, keep_freed_memory
from nanopoet.evaluate import poem_nats, prediction_figures, write_poems
from nanopoet.files import atomic_write, write_json
from nanopoet.generate import as_lines
from nanopoet.params import load_params
from nanopoet.tensors import TokenArrays
from nanopoet.twins import load_twins
from stages import tracking
from stages.stage import run

MODEL = Path("models/poet")
SAMPLES = Path("data/samples.txt")


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
    write_json("metrics/evaluate.json", figures)
    with atomic_write(SAMPLES) as file:
        file.write("\n\n".join(map(as_lines, poems)).encode() + b"\n")
    tracking.log_evaluation(params, MODEL, figures, SAMPLES)
    print(
        f"evaluate: {figures['nats_per_character']:.4f} nats per character, e^loss "
        f"{figures['hesitation']:.1f}, over {figures['val_characters']:,} characters; poems in "
        f"{SAMPLES}"
    )


if __name__ == "__main__":
    run(main)
