"""Figures of the recipes that were run, from their DVC experiments → docs/recipes.json.

`make run RECIPE=seed` makes the experiment `seed`; the default recipe is what the workspace holds.
"""

import io
import json
from pathlib import Path
from typing import Any

import dvc.api
import pandas as pd
from dvc.scm import RevError

from nanopoet.errors import NanopoetError
from nanopoet.files import write_json
from nanopoet.params import read_yaml

OUT = Path("docs/recipes.json")


def figures(rev: str | None) -> dict[str, Any]:
    """Metrics and validation curve of an experiment, or of the workspace."""
    metrics = {
        stage: json.loads(dvc.api.read(f"metrics/{stage}.json", rev=rev))
        for stage in ("pretrain", "evaluate")
    }
    looks = pd.read_csv(io.StringIO(dvc.api.read("models/poet/evaluations.csv", rev=rev)))
    curve = dict(zip(looks["step"].astype(str), looks["loss_val"].round(4), strict=True))
    return metrics | {"loss_val": curve}


def main() -> None:
    known = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    known["default"] = figures(None)
    for name in read_yaml("recipes.yaml"):
        try:
            known[name] = figures(name)
        except RevError:
            print(f"{name}: no such experiment; `make run RECIPE={name}` makes it")
    write_json(OUT, known)
    for name, entry in known.items():
        nats = entry["evaluate"]["nats_per_character"]
        print(f"{name}: {entry['pretrain']['tokens']:,} tokens, {nats:.4f} nats per character")


if __name__ == "__main__":
    try:
        main()
    except NanopoetError as error:
        raise SystemExit(f"error: {error}") from None
