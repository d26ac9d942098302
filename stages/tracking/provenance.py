"""Origin of a result: git, the DVC experiment, changed params, digests of the inputs."""

import hashlib
import os
import subprocess
from pathlib import Path

from nanopoet.common.yaml import parse_yaml
from nanopoet.params import Params

_INPUTS = {"poems/train": "data/train", "poems/val": "data/val", "vocabulary": "data/vocab.json"}
_DIFFERENCES_IN_NAME = 3
_CODE = (".", ":!dvc.lock", ":!metrics")
"""Paths for git without the files that DVC writes while it runs."""


def flatten_params(params: Params) -> dict[str, str]:
    """Return `section.leaf` → value as text."""
    sections = params.model_dump()
    return {f"{s}.{leaf}": str(v) for s, leaves in sections.items() for leaf, v in leaves.items()}


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


def name_and_tags(params: Params) -> tuple[str, dict[str, str]]:
    """Return a name that tells a run from others, and tags that say where it comes from."""
    experiment = os.environ.get("DVC_EXP_NAME", "")
    baseline = os.environ.get("DVC_EXP_BASELINE_REV", "")
    head = _git("rev-parse", "HEAD")
    revision = (baseline or head)[:8]
    differences = _differences(params, baseline or head)
    tags = {"dvc.experiment": experiment, "dvc.baseline": baseline}
    if head:
        dirty = bool(_git("status", "--porcelain", "-uno", "--", *_CODE))
        tags |= {"git.commit": head, "git.dirty": str(dirty).lower()}
        tags |= {"mlflow.source.git.commit": head}
    if revision:
        tags["nanopoet.differences"] = f"{', '.join(differences) or 'nothing'} ({revision})"
    shown = [each.split(".", 1)[1] for each in differences[:_DIFFERENCES_IN_NAME]]
    more = len(differences) - len(shown)
    name = ", ".join(shown) + (f" and {more} more" if more else "")
    name = name or f"params.yaml at {revision or 'no commit'}"
    name = f"{experiment}: {name}" if experiment else name
    return name, {tag: value for tag, value in tags.items() if value}


def _differences(params: Params, revision: str) -> list[str]:
    """List the params that differ from params.yaml at a git revision."""
    text = _git("show", f"{revision}:./params.yaml") if revision else ""
    committed = parse_yaml(text, "params.yaml") if text else {}
    return [
        f"{section}.{leaf}={value}"
        for section, leaves in params.model_dump().items()
        for leaf, value in leaves.items()
        if section in committed and committed[section].get(leaf) != value
    ]


def _git(*arguments: str) -> str:
    """Return the output of git; empty if it fails or is not installed."""
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
