"""The folders into which the pipeline writes its models."""

from pathlib import Path

PRETRAINED = "models/poet"
MADE_BY = {"models/reinforced": "reinforce", "models/finetuned": "finetune", PRETRAINED: "repro"}
"""Folders of the trained models, the best first, and the target of `make` that fills each."""


def best_model() -> str:
    """Return the folder of the best model that is there; of the pretrained one if there is none.

    During a training its folder has the history and no model yet.
    """
    return next((folder for folder in MADE_BY if Path(folder, "config.json").exists()), PRETRAINED)
