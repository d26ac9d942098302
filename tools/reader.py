"""Train a strong reader once, and let it read the poems of all models: `make reader`.

The reader is a pretrained model that had no part in the training of the others. It comes from the
recipe `evening`, as the experiment `reader`, and stays in models/reader/. Delete that folder to
train it again.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from nanopoet.common.device import choose_device, choose_precision, keep_freed_memory
from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import read_json, write_json
from nanopoet.evaluation.readers import Reader, model_reader
from nanopoet.models.checkpoint import load_model
from nanopoet.params import load_params
from nanopoet.recipes import load_recipe
from nanopoet.tokens.tokenizer import CharTokenizer
from stages.runner import run
from tools.figure_format import format_value
from tools.run_recipe import check_tracked, run_experiment

MODEL = Path("models/reader")
RECIPE, EXPERIMENT = "evening", "reader"
FIGURES = Path("metrics/reader.json")


class Column(NamedTuple):
    """Poems of one writer, as the report compares them.

    Attributes:
        reader_ngram: their nats per character for the n-gram reader.
        groups: the poems by the form that was asked for; one group if none was.
    """

    reader_ngram: float | None
    groups: Sequence[Sequence[str]]


def main() -> None:
    """Let the reader read what the evaluations wrote, and write metrics/reader.json.

    Raises:
        NanopoetError: an evaluation has not run, or the reader has read another corpus.
    """
    params = load_params()
    keep_freed_memory()
    tables = {"asked": asked(), "verse": without_request()}
    if not MODEL.exists():
        train()
    options = params.evaluate
    model, tokenizer = load_model(MODEL)
    if tokenizer.digest != CharTokenizer.load("data/vocab.json").digest:
        raise NanopoetError(
            f"{MODEL}: its vocabulary is not that of data/vocab.json, so it has read another "
            f"corpus; delete the folder and run `make reader` again"
        )
    device = choose_device(options.device, "params.yaml: evaluate.device")
    read = model_reader(
        model,
        tokenizer,
        context=model.block_size // 2,
        batch_size=options.batch_size,
        device=device,
        precision=choose_precision(options.precision, device)[0],
    )
    figures = {
        table: {
            name: {"reader_ngram": column.reader_ngram, "reader_model": mean(read, column.groups)}
            for name, column in columns.items()
        }
        for table, columns in tables.items()
    }
    origin = {"recipe": RECIPE, "parameters": model.num_parameters}
    write_json(FIGURES, origin | figures)
    shown = ", ".join(
        f"{name} {format_value(each['reader_model'], '.2f')}"
        for name, each in figures["asked"].items()
    )
    print(f"reader: {FIGURES}; nats per character where a form was asked for: {shown}")


def train() -> None:
    """Train the reader as an experiment of DVC, and put its model into `MODEL`."""
    recipe, leaves = load_recipe(RECIPE)
    check_tracked(recipe.load.source)
    print(f"reader: trains the recipe {RECIPE} as the experiment {EXPERIMENT}", flush=True)
    if status := run_experiment(EXPERIMENT, leaves, "pretrain"):
        sys.exit(status)
    partial = MODEL.with_name(f"{MODEL.name}.partial")
    dvc = [sys.executable, "-m", "dvc", "get", "--quiet", "--force", "--out", str(partial)]
    get = subprocess.run([*dvc, "--rev", EXPERIMENT, ".", "models/poet"], check=False)
    if get.returncode:
        sys.exit(get.returncode)
    partial.rename(MODEL)


def asked() -> dict[str, Column]:
    """Return the poems of both models that a form was asked for, and people's in the forms."""
    columns = {}
    for name in ("finetuned", "reinforced"):
        figures = read_json(f"metrics/evaluate_{name}.json")["asked"]
        poems = read_json(f"data/asked_{name}.json")
        for writer, title in (("model", name), ("human", "people")):
            groups = [texts for style, texts in poems[writer].items() if style]
            columns[title] = Column(figures[writer]["mean"].get("reader_ngram"), groups)
    return columns


def without_request() -> dict[str, Column]:
    """Return the poems of each model that nothing was asked of, people's and those of n-grams."""
    figures, poems = read_json("metrics/evaluate.json")["verse"], read_json("data/verse.json")
    names = {"model": "pretrained", "human": "people", "ngram": "n-grams"}
    columns = {
        name: Column(figures[source]["reader_ngram"], [poems[source]])
        for source, name in names.items()
    }
    for name in ("finetuned", "reinforced"):
        nats = read_json(f"metrics/evaluate_{name}.json")["verse"]["model"]["reader_ngram"]
        poems = read_json(f"data/asked_{name}.json")["model"]
        columns[name] = Column(nats, [poems[""]])
    return columns


def mean(read: Reader, groups: Sequence[Sequence[str]]) -> float | None:
    """Return the mean over the groups of the nats per character; None without a character."""
    nats = [each for each in map(read, groups) if each is not None]
    return fmean(nats) if nats else None


if __name__ == "__main__":
    run(main)
