"""Stage `evaluate_finetuned`: models/finetuned/ → what fields tell it, and poems for requests."""

from pathlib import Path

from nanopoet.params import load_params
from stages.asking import evaluate_asking, write_examples
from stages.runner import run
from stages.tracking.uploader import publish

MODEL = Path("models/finetuned")
SAMPLES = Path("data/samples_finetuned.txt")
ASKED = Path("data/asked_finetuned.json")


def main() -> None:
    """Evaluate the finetuned model, and write poems by people and by it for the same requests."""
    params = load_params()
    evaluate_asking("evaluate_finetuned", params, MODEL, SAMPLES, ASKED)
    write_examples("data/requests.json", {"finetuned": MODEL}, params)
    publish("finetune", params)


if __name__ == "__main__":
    run(main)
