"""The loss curve of models/poet as docs/loss.png."""

import json
import math
from pathlib import Path

import matplotlib as mpl

from nanopoet.training.history import read_history

mpl.use("Agg")

import matplotlib.pyplot as plt

from stages.runner import run

OUT = Path("docs/loss.png")


def main() -> None:
    """Draw the training and validation loss of models/poet."""
    records = read_history("models/poet")
    vocab_size = json.loads(Path("metrics/tokenize.json").read_text(encoding="utf-8"))["vocab_size"]
    val = [(r.step, r.loss_val) for r in records if r.loss_val is not None]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot([r.step for r in records], [r.loss_train for r in records], lw=1, label="train")
    axes.plot([step for step, _ in val], [loss for _, loss in val], "o-", ms=4, label="val")
    axes.axhline(
        math.log(vocab_size), color="gray", ls=":", label=f"blind guessing, ln {vocab_size:,}"
    )
    axes.set(xlabel="step", ylabel="loss, nats per character")
    axes.grid(alpha=0.3)
    axes.legend()
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, dpi=110, metadata={"Software": None})
    print(f"loss_curve: {OUT}")


if __name__ == "__main__":
    run(main)
