"""Figures of the recipes that were run, from their DVC experiments → docs/recipes.json.

`make run RECIPE=notebook` makes the experiment `notebook`; the default recipe is the workspace's.
`python -m bench.recipes small=elsewhere` takes a recipe's figures from the folder `elsewhere`, with
`metrics/` and `models/poet/evaluations.csv` of the machine on which it ran.
"""

import argparse
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dvc.api
import pandas as pd
from dvc.scm import RevError

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import write_json
from nanopoet.params import read_yaml

OUT = Path("docs/recipes.json")
METRICS = {stage: f"metrics/{stage}.json" for stage in ("pretrain", "evaluate")}
CURVE = "models/poet/evaluations.csv"
FILES = (*METRICS.values(), CURVE)


def figures(read: Callable[[str], str]) -> dict[str, Any]:
    """Metrics and validation curve of a run, of which `read` gives the text of a file."""
    metrics = {stage: json.loads(read(path)) for stage, path in METRICS.items()}
    looks = pd.read_csv(io.StringIO(read(CURVE)))
    curve = dict(zip(looks["step"].astype(str), looks["loss_val"].round(4), strict=True))
    return metrics | {"loss_val": curve}


def _read(folder: Path, path: str) -> str:
    return (folder / path).read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("elsewhere", nargs="*", metavar="recipe=folder")
    elsewhere = dict(each.partition("=")[::2] for each in parser.parse_args().elsewhere)
    recipes = list(read_yaml("recipes.yaml"))
    for name, folder in elsewhere.items():
        complete = folder and all(Path(folder, path).is_file() for path in FILES)
        if name not in recipes or not complete:
            raise NanopoetError(
                f"{name}={folder} is not allowed: write recipe=folder, with a recipe of "
                f"{', '.join(recipes)} and a folder in which it ran, with {', '.join(FILES)}"
            )
    known = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    known["default"] = figures(partial(dvc.api.read, rev=None))
    for name in recipes:
        if name in elsewhere:
            known[name] = figures(partial(_read, Path(elsewhere[name])))
            continue
        try:
            known[name] = figures(partial(dvc.api.read, rev=name))
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
