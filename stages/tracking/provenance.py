"""Origin of a result: git, the DVC experiment, changed params, digests of the inputs."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import parse_yaml
from nanopoet.param_sections import Params
from nanopoet.params import decisive
from stages.tracking.trainings import TRAININGS

_INPUTS = {"poems/train": "data/train", "poems/val": "data/val", "vocabulary": "data/vocab.json"}
_DIFFERENCES_IN_NAME = 3
_CODE = (".", ":!dvc.lock", ":!metrics")
"""Paths for git without the files that DVC writes while it runs."""


def flatten_params(params: Params, sections: Iterable[str]) -> dict[str, str]:
    """Return `section.leaf` → value as text, for the parameters of some sections that decide."""
    leaves = {section: decisive(getattr(params, section)) for section in sections}
    return {f"{s}.{leaf}": str(value) for s in leaves for leaf, value in leaves[s].items()}


def input_digests() -> dict[str, str]:
    """Return name → digest of each input of the training."""
    return {name: digest(Path(path)) for name, path in _INPUTS.items()}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and bytes of a folder's files."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for file in sorted(path.iterdir()):
        total.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def name_and_tags(stage: str, params: Params) -> tuple[str, dict[str, str]]:
    """Return a name that tells a run from others, and tags that say where it comes from."""
    experiment = os.environ.get("DVC_EXP_NAME", "")
    baseline = os.environ.get("DVC_EXP_BASELINE_REV", "")
    head = _git("rev-parse", "HEAD")
    revision = (baseline or head)[:8]
    committed = _committed(baseline or head)
    tags = {"dvc.experiment": experiment, "dvc.baseline": baseline}
    if head:
        dirty = bool(_git("status", "--porcelain", "-uno", "--", *_CODE))
        tags |= {"git.commit": head, "git.dirty": str(dirty).lower()}
        tags |= {"mlflow.source.git.commit": head}
    name = f"params.yaml at {revision}" if revision else "params.yaml at no known commit"
    if revision and committed is None:
        name = f"params.yaml, none to compare with at {revision}"
    if committed is not None:
        differences = _differences(stage, params, committed)
        tags["nanopoet.differences"] = f"{', '.join(differences) or 'nothing'} ({revision})"
        # Sections share names of parameters, such as `seed` and `lr`.
        shown = [each.removeprefix(f"{stage}.") for each in differences[:_DIFFERENCES_IN_NAME]]
        more = len(differences) - len(shown)
        name = ", ".join(shown) + (f" and {more} more" if more else "") or name
    name = f"{experiment}: {name}" if experiment else name
    name = name if stage == "pretrain" else f"{stage}: {name}"
    tags["nanopoet.stage"] = stage
    return name, {tag: value for tag, value in tags.items() if value}


def _committed(revision: str) -> dict[str, Any] | None:
    """Read params.yaml at a git revision; None if it is not there, or no sound file."""
    # Without ./ git would look in the root of a larger repository.
    text = _git("cat-file", "blob", f"{revision}:./params.yaml") if revision else ""
    try:
        sections = parse_yaml(text, "params.yaml")
    except NanopoetError:
        return None
    is_sound = isinstance(sections, dict) and all(isinstance(s, dict) for s in sections.values())
    return sections if is_sound else None


def _differences(stage: str, params: Params, committed: dict[str, Any]) -> list[str]:
    """List the params of a training that differ from the committed ones, or are not among them."""
    training = TRAININGS[stage]
    return [
        f"{section}.{leaf}={value}"
        for section, leaves in params.model_dump().items()
        if section in {*training.sections, *training.judged_by}
        for leaf, value in leaves.items()
        if leaf not in committed.get(section, {}) or committed[section][leaf] != value
    ]


def _git(*arguments: str) -> str:
    """Return the output of git; empty if it refuses, for whatever reason, or is not installed."""
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return ""
    # Whatever the locale, a file of ours is UTF-8.
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
