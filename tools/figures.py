"""Write the figures of the last runs into README and docs: `make figures`.

The script works in two steps. It collects the figures in docs/figures.json, which git keeps. Then
it fills the marked places of README.md, README.zh.md and docs/*.md from docs/figures.json alone.
Tests compare the pages with docs/figures.json and never with metrics/, so a training of your own
fails no test.

The figures of the default recipe come from the workspace. Those of another recipe come from its
newest DVC experiment (`make run RECIPE=notebook`). A recipe keeps its entry, with its commit and
machine, if its figures have not changed or if it has no experiment here. A recipe for a GPU is run
there: `make run RECIPE=small && make figures`, then commit docs/figures.json.

A number in a sentence or a table cell, on one line. It never begins a line, which Markdown would
then take for HTML:

    … <!-- fig: PATH SPEC -->TEXT<!-- /fig --> …

PATH is a dotted path into docs/figures.json, with `_` for a space in a name. SPEC is a format
specification of Python, such as `,`, `.4f` or `.1%`. The SPEC `time` writes seconds as "45 seconds"
or "19 minutes", and `time-zh` as "45 秒" or "19 分钟". The SPEC `machine` (`machine-zh`) names a
processor. Without SPEC the value is written as it is. A missing value is "–". Examples of paths:

    load.poems  split.val_near_duplicates  tokenize.vocab_size  encode.train_tokens
    baseline.kneser_ney_4.nats_per_character
    default.evaluate.nats_per_character  evening.evaluate.verse.model.rhyme
    notebook.pretrain.tokens  small.measured.commit  small.measured.seconds

A recipe has `measured` (commit, machine, and seconds of training without evaluation steps),
`pretrain`, `evaluate`, `loss_val` (step → loss) and `poem`.

A block has its markers on lines of their own:

    <!-- figures: NAME -->
    any lines
    <!-- /figures -->

NAME is one of these. The first three have a Chinese version, named with the suffix `-zh`:

    results            a row for each recipe: loss, perplexity, regular form, rhyme, size, time
    verse              poems of the default recipe beside those of people and of n-grams
    notebook-curve     validation loss of the original notebook beside the recipe `notebook`
    finetuned          what the finetuned model reaches, beside people's poems
    reinforced         what the reinforced model reaches, beside the finetuned one and people
    kl-weights         the reinforced model by its reinforce.kl_weight
    requests           poems that must be as asked, from docs/requests.json (bench.requests)
    asked              one of these poems, with the command that asks for it
    poem-RECIPE        the first poem that a recipe wrote, as a code block

Markers do not nest. A code block would show them, so they stand outside of code blocks.
"""

import io
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pandas as pd

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import read_json, write_json, write_text
from nanopoet.common.yaml import read_yaml
from stages.runner import run
from tools.asked_blocks import KL_WEIGHTS
from tools.figure_blocks import BLOCKS, poem_block
from tools.figure_format import format_value, this_machine
from tools.revisions import at_revision, git_head, in_workspace, newest_experiment

REFERENCE = Path("docs/figures.json")
"""The figures that README and docs state."""
PAGES = ("README.md", "README.zh.md", "docs/*.md")
STAGES = ("load", "split", "tokenize", "encode", "baseline")
"""Stages whose figures are the same for every recipe."""


class Files(NamedTuple):
    """Files of a training and of its evaluation.

    Attributes:
        stage: the stage that trains.
        evaluation: figures of the evaluation.
        curve: validation losses by step.
        samples: poems.
    """

    stage: str
    evaluation: str
    curve: str
    samples: str


PRETRAINED = Files(
    "pretrain", "metrics/evaluate.json", "models/poet/evaluations.csv", "data/samples.txt"
)
FURTHER = {"finetuned": "finetune", "reinforced": "reinforce"}
"""Model that goes on from another → the stage that trains it."""
EXPERIMENTS = ("another-seed", *(name for name in KL_WEIGHTS if name != "reinforced"))
"""Experiments of docs/reinforce.md, each with a reinforced model."""
LEFT_OUT = {"calibration", "nats_by_position", "styles"}
"""Long lists in metrics/evaluate.json that no page states."""
Figures = dict[str, Any]

_INLINE = re.compile(r"(<!-- fig: ([^\s>]+)(?: ([^\s>]+))? -->)(.*?)(<!-- /fig -->)")
_BLOCK = re.compile(r"^(<!-- figures: (\S+) -->\n)(.*?)^(<!-- /figures -->)$", re.M | re.S)
_ANY = re.compile(r"<!--\s*/?fig.*?-->", re.S)


def render(page: str, figures: Figures) -> str:
    """Fill every marked place of a page.

    Args:
        page: the page as Markdown.
        figures: the content of docs/figures.json.

    Raises:
        NanopoetError: a name or path is unknown, or a marker is not opened or closed as it should.
    """
    rest = _BLOCK.sub("", page)
    for line in rest.splitlines():
        if stray := _ANY.search(_INLINE.sub("", line)):
            raise NanopoetError(
                f"{stray.group()}: this marker has no partner; write <!-- fig: PATH SPEC -->…"
                "<!-- /fig --> on one line, or <!-- figures: NAME --> and <!-- /figures --> on "
                "lines of their own"
            )
        if line.startswith("<!-- fig:"):
            raise NanopoetError(f"{line}: no line may begin with <!-- fig: …; put a word before it")
    page = _INLINE.sub(partial(_fill_inline, figures), page)
    return _BLOCK.sub(partial(_fill_block, figures), page)


def _fill_inline(figures: Figures, found: re.Match[str]) -> str:
    opening, path, spec, _, closing = found.groups()
    value: Any = figures
    for name in path.split("."):
        if isinstance(value, dict) and name not in value:
            name = name.replace("_", " ")
        if not isinstance(value, dict) or name not in value:
            known = ", ".join(value) if isinstance(value, dict) else "nothing"
            raise NanopoetError(f"{opening}: {REFERENCE} has no {path}; {name} may be {known}")
        value = value[name]
    try:
        text = format_value(value, spec or "")
    except (TypeError, ValueError) as error:
        raise NanopoetError(f"{opening}: {path} = {value!r}: {error}") from None
    return f"{opening}{text}{closing}"


def _fill_block(figures: Figures, found: re.Match[str]) -> str:
    opening, name, content, closing = found.groups()
    if stray := _ANY.search(content):
        raise NanopoetError(f"{opening.strip()}: {stray.group()} stands inside of the block")
    kind, _, recipe = name.partition("-")
    if kind == "poem" and recipe in figures:
        text = poem_block(figures[recipe])
    elif name in BLOCKS:
        text = BLOCKS[name](figures)
    else:
        known = ", ".join([*BLOCKS, "poem-RECIPE"])
        raise NanopoetError(f"{opening.strip()}: no such block; there are {known}")
    return f"{opening}{text}\n{closing}"


def pages(root: Path) -> list[Path]:
    """Return README, its Chinese version and the pages of docs/."""
    found = [path for pattern in PAGES for path in sorted(root.glob(pattern))]
    assert found, root
    return found


def collect(known: Figures) -> Figures:
    """Read the figures of the workspace and of the DVC experiments.

    Args:
        known: the figures so far; empty if there are none.
    """
    head = git_head()
    figures: Figures = {"default": _entry(PRETRAINED, in_workspace, known.get("default"), head)}
    experiments = dict.fromkeys(read_yaml("recipes.yaml"), PRETRAINED)
    experiments |= dict.fromkeys(EXPERIMENTS, _files("reinforced"))
    for name, files in experiments.items():
        if (experiment := newest_experiment(name)) is not None:
            commit, revision = experiment
            read = partial(at_revision, revision)
            figures[name] = _entry(files, read, known.get(name), commit)
        elif name in known:
            figures[name] = known[name]
            print(f"{name}: no experiment here; figures of {known[name]['measured']['commit']}")
    for name, stage in FURTHER.items():
        files = _files(name)
        if Path(files.evaluation).exists():
            figures[name] = _entry(files, in_workspace, known.get(name), head)
        elif name in known:
            figures[name] = known[name]
            print(f"{name}: `make {stage}` has not run here; its figures stay")
    figures["requests"] = read_json("docs/requests.json")
    figures["reader"] = read_json("metrics/reader.json")
    return figures | {stage: read_json(f"metrics/{stage}.json") for stage in STAGES}


def _files(name: str) -> Files:
    """Return the files of a model that goes on from another."""
    return Files(
        FURTHER[name],
        f"metrics/evaluate_{name}.json",
        f"models/{name}/evaluations.csv",
        f"data/samples_{name}.txt",
    )


def _entry(files: Files, read: Callable[[str], str], known: Figures | None, commit: str) -> Figures:
    """Return the figures of one training, whose files `read` returns as text."""
    evaluate = orjson.loads(read(files.evaluation))
    if "perplexity" not in evaluate:
        raise NanopoetError(
            f"{files.evaluation} of the experiment on {commit}: written by version 0.1, whose "
            "figures have other names; run the recipe again with `make run`"
        )
    losses = pd.read_csv(io.StringIO(read(files.curve)))
    training = orjson.loads(read(f"metrics/{files.stage}.json"))
    entry = {
        files.stage: training,
        "evaluate": _without_lists(evaluate),
        "loss_val": dict(zip(losses["step"].astype(str), losses["loss_val"].round(4), strict=True)),
        "poem": read(files.samples).strip().split("\n\n")[0],
    }
    if known is not None and entry.items() <= known.items():
        return known
    seconds = _training_seconds(evaluate["nats_per_character"], training["tokens"])
    measured = {"commit": commit, "machine": this_machine(), "seconds": seconds}
    return {"measured": measured} | entry


def _without_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_lists(each) for name, each in value.items() if name not in LEFT_OUT}


def _training_seconds(nats: float, tokens: int) -> float | None:
    """Look up in MLflow how long the updates of a training took; None if no run is found.

    The run is the one with the same loss. Its rate leaves out evaluation steps.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path("mlflow.db").exists():
        return None
    from stages.tracking.store import find_speed  # MLflow takes seconds to import

    speed = find_speed(nats)
    return round(tokens / speed) if speed else None


def main() -> None:
    """Collect the figures and write them into the pages."""
    known = read_json(REFERENCE) if REFERENCE.exists() else {}
    figures = collect(known)
    rendered = {}
    for path in pages(Path()):
        text = path.read_text(encoding="utf-8")
        try:
            rendered[path] = (text, render(text, figures))
        except NanopoetError as error:
            raise NanopoetError(f"{path}: {error}") from None
    write_json(REFERENCE, figures)
    changed = [path for path, (before, after) in rendered.items() if before != after]
    for path in changed:
        write_text(path, rendered[path][1])
    print(f"{REFERENCE}: written; changed pages: {', '.join(map(str, changed)) or 'none'}")


if __name__ == "__main__":
    run(main)
