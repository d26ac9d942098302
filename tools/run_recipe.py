"""Run a recipe of recipes.yaml as an experiment of that name: `make run RECIPE=notebook`.

`make run RECIPE=notebook SEEDS=1,2,3` runs it once for each random seed.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from nanopoet.common.errors import NanopoetError
from nanopoet.recipes import load_recipe
from stages.runner import outs_by_stage, run


def main() -> None:
    """Run `dvc exp run` with the parameters of the recipe that is named on the command line.

    With seeds, the experiment of each is named after the recipe and its `pretrain.seed`.

    Raises:
        NanopoetError: no recipe is named, `load_recipe` refuses it, a seed is no number, or git
            lacks what it needs.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="of a recipe")
    parser.add_argument("--seeds", default="", help="numbers with commas between them")
    arguments = parser.parse_args()
    name = " ".join(arguments.name).strip()
    if not name:
        raise NanopoetError("name a recipe of recipes.yaml, as in `make run RECIPE=notebook`")
    params, leaves = load_recipe(name)
    check_tracked(params.load.source)
    experiments = {name: leaves}
    if arguments.seeds:
        experiments = {
            f"{name}-seed-{seed}": leaves | {"pretrain.seed": seed}
            for seed in read_seeds(arguments.seeds)
        }
    status = 0
    for each in experiments.items():
        status = status or run_experiment(*each)
    sys.exit(status)


def read_seeds(text: str) -> list[int]:
    """Read random seeds.

    >>> read_seeds("1,2,30")
    [1, 2, 30]
    """
    if not re.fullmatch(r"\d+(,\d+)*", text, re.ASCII):
        raise NanopoetError(
            f"SEEDS = {text!r} is not allowed: numbers with commas between them, as in SEEDS=1,2,3"
        )
    return [int(seed) for seed in text.split(",")]


def run_experiment(name: str, leaves: dict[str, Any], target: str = "report") -> int:
    """Run `dvc exp run --temp`, and return its exit status.

    An experiment of that name is replaced. If the new one fails, the old one is put back.

    Args:
        name: of the experiment.
        leaves: parameters that differ from params.yaml, `section.leaf` → value.
        target: the last stage that runs.

    Raises:
        NanopoetError: there is no commit, or DVC cannot take a parameter.
    """
    head = _revision("HEAD")
    if not head:
        raise NanopoetError("there is no commit to compare with; run `git add . && git commit`")
    overrides = [word for each in leaves.items() for word in ("-S", override(*each))]
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    before = _revision(reference)
    if before:
        print(f"run_recipe: replaces the experiment {name} of this commit", flush=True)
        _git("update-ref", "-d", reference)
    dvc = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name]
    try:
        status = subprocess.run([*dvc, *overrides, target], check=False).returncode
    finally:
        if before and not _revision(reference):
            _git("update-ref", reference, before)
            print(f"run_recipe: the experiment {name} stays as it was", file=sys.stderr)
    return status


def check_tracked(source: str) -> None:
    """Refuse a corpus that the recipe's copy of the repository will lack.

    Raises:
        NanopoetError: neither git nor DVC tracks a corpus that is there.
    """
    path = Path(source)
    made = (out for outs in outs_by_stage("outs").values() for out in outs)
    added = (Path(f"{each}.dvc").exists() for each in (path, *path.parents))
    if path.is_absolute() or not path.exists() or path.absolute() in made or any(added):
        return
    tracked = _git("--literal-pathspecs", "ls-files", "--", source).stdout
    new = _git("--literal-pathspecs", "ls-files", "--others", "--exclude-standard", "--", source)
    if not tracked or new.returncode or new.stdout:
        raise NanopoetError(
            f"load.source = {source!r}: git does not track it, and a recipe runs in a copy of what "
            f"git tracks; run `git add` or `dvc add`, or name it by its full path {path.resolve()}"
        )


def override(name: str, value: Any) -> str:
    """Write a parameter in Hydra's grammar, by which DVC reads `-S`.

    >>> override("load.source", "my poems, (all).jsonl")
    "load.source='my poems, (all).jsonl'"
    """
    return f"{name}={_quote(name, value)}"


def _quote(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(_quote(name, item) for item in value)}]"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if "${" in value:
        raise NanopoetError(f"{name} = {value!r} is not allowed in a recipe: DVC replaces `${{`")
    # Hydra takes a backslash for itself, unless a quote follows.
    escaped = re.sub(
        r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), value
    )
    return f"'{escaped}'"


def _revision(name: str) -> str:
    """Return the digest of a commit; empty if there is none of that name."""
    return _git("rev-parse", "--verify", "--quiet", name).stdout.strip()


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
    )


if __name__ == "__main__":
    run(main, takes_arguments=True)
