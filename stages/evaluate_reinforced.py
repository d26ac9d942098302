"""Stage `evaluate_reinforced`: models/reinforced/ → its figures, and poems by all models."""

from pathlib import Path

from nanopoet.params import load_params
from stages.asking import evaluate_asking, write_examples
from stages.runner import run
from stages.tracking.uploader import publish

MODEL = Path("models/reinforced")
SAMPLES = Path("data/samples_reinforced.txt")
ASKED = Path("data/asked_reinforced.json")


def main() -> None:
    """Evaluate the reinforced model, and write poems by each model for the same requests."""
    params = load_params()
    evaluate_asking("evaluate_reinforced", params, MODEL, SAMPLES, ASKED)
    models = {
        "pretrained": Path("models/poet"),
        "finetuned": Path("models/finetuned"),
        "reinforced": MODEL,
    }
    write_examples("data/requests_reinforced.json", models, params)
    publish("reinforce", params)


if __name__ == "__main__":
    run(main)
