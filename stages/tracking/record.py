"""What there is to tell about one result of the pipeline, without MLflow.

An account holds all that a run in the store shows. It can be kept in a folder until
the store can be reached again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from nanopoet.common.files import read_json, write_json
from nanopoet.common.text import as_lines
from nanopoet.common.yaml import parse_yaml
from nanopoet.params import Params
from nanopoet.training.history import StepRecord

_DIFFERENCES_IN_NAME = 3
_INPUTS = {"poems/train": "data/train", "poems/val": "data/val", "vocabulary": "data/vocab.json"}


@dataclass
class Evaluation:
    """What `evaluate` and `report` add.

    Attributes:
        params: of `baseline` and `evaluate`, `section.leaf` → value.
        figures: `metrics/evaluate.json`.
        samples: the poems as text.
        report: the page, once there is one.
    """

    params: dict[str, str]
    figures: dict[str, Any]
    samples: str
    report: str | None = None

    @classmethod
    def read(cls, params: Params, report: str | None = None) -> Self:
        """What the stage `evaluate` has written."""
        return cls(
            {name: value for name, value in flat_params(params).items() if _after_training(name)},
            read_json("metrics/evaluate.json"),
            Path("data/samples.txt").read_text(encoding="utf-8"),
            report,
        )

    @property
    def forms(self) -> dict[str, float]:
        """Form → nats per character."""
        forms: dict[str, float] = self.figures["nats_per_character_by_form"]
        return forms

    def metrics(self) -> dict[str, float]:
        """The figures that a model earns, nested names joined by a slash; lists left out.

        Those of people and n-grams are the same for every run. MLflow does not take every name
        that a style may have.
        """
        return dict(_leaves("evaluate", self.figures))


@dataclass
class Account:
    """One result.

    Attributes:
        name: tells a person what is special about it.
        params: all parameters of the model, `section.leaf` → value.
        tags: where it comes from.
        inputs: name → digest of what it was trained on.
        started: Unix time in milliseconds.
        status: RUNNING, FINISHED, FAILED or KILLED.
        records: the steps made.
        moments: step → Unix time in milliseconds, and rates by name, such as tokens per second
            so far; for steps made in this process.
        parameter_count: numbers in the model.
        run_id: the run in the store, once there is one.
        model: the finished model's folder.
        evaluation: what `evaluate` added.
    """

    name: str
    params: dict[str, str]
    tags: dict[str, str]
    inputs: dict[str, str]
    started: int
    status: str = "RUNNING"
    records: list[StepRecord] = field(default_factory=list)
    moments: dict[int, tuple[int, dict[str, float]]] = field(default_factory=dict)
    run_id: str | None = None
    model: Path | None = None
    evaluation: Evaluation | None = None

    @classmethod
    def begin(cls, params: Params, records: Sequence[StepRecord] = ()) -> Self:
        """The account of a training that begins, or goes on after `records`."""
        flat = flat_params(params)
        revision, differences = _differences(params)
        tags = {
            "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
            "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", ""),
        }
        if commit := _git("rev-parse", "HEAD"):
            dirty = bool(_git("status", "--porcelain", "-uno", "--", *_CODE))
            tags |= {"git.commit": commit, "git.dirty": str(dirty).lower()}
            tags |= {"mlflow.source.git.commit": commit}
        if revision:
            tags["nanopoet.differences"] = f"{', '.join(differences) or 'nothing'} ({revision})"
        return cls(
            name=_name(revision, differences),
            params={name: value for name, value in flat.items() if not _after_training(name)},
            tags={name: value for name, value in tags.items() if value},
            inputs={name: digest(Path(path)) for name, path in _INPUTS.items()},
            started=now(),
            records=list(records),
        )

    def description(self) -> str:
        """Markdown that a person reads first: what was trained, on what, the result, a poem."""
        p = self.params
        tokens = self.records[-1].tokens if self.records else 0
        lines = [
            f"**{p['pretrain.architecture']}** model, {p['pretrain.layer_num']} layers × "
            f"{p['pretrain.emb_size']}, {self.status.lower()} after {tokens:,} training tokens "
            f"({len(self.records):,} of {int(p['pretrain.max_steps']):,} steps of "
            f"{p['pretrain.batch_size']} × {p['pretrain.block_size']}).",
        ]
        if differences := self.tags.get("nanopoet.differences"):
            lines.append(f"Differs from `params.yaml` as committed: {differences}.")
        looks = [record for record in self.records if record.samples]
        poem = ""
        if looks:
            lines.append(
                f"Loss at step {looks[-1].step}: train {looks[-1].loss_train:.3f}, "
                f"val {looks[-1].loss_val:.3f} nats per character."
            )
            poem = next(iter((looks[-1].samples or {}).values()))
        if self.evaluation:
            figures = self.evaluation.figures
            lines.append(
                f"All of validation: **{figures['nats_per_character']:.4f}** nats per character, "
                f"e^loss {figures['perplexity']:.0f}."
            )
            poem = self.evaluation.samples.strip().split("\n\n")[0]
        if poem.strip():
            verse = as_lines(poem.replace("\n", "")).splitlines()
            lines.append("A poem:\n\n" + "  \n".join(f"> {line}" for line in verse))
        return "\n\n".join(lines)

    def samples_table(self) -> dict[str, Any]:
        """Columns and rows of the samples: the first column pairs runs, the second is compared."""
        rows = [
            [f"step {record.step:06d}: {prompt or '(nothing)'}", poem, record.step, prompt]
            for record in self.records
            for prompt, poem in (record.samples or {}).items()
        ]
        return {"columns": ["step and prompt", "poem", "step", "prompt"], "data": rows}

    def save(self, folder: Path) -> None:
        """Keep everything in a folder, the model and all."""
        if self.model and self.model != folder / "poet":
            shutil.copytree(self.model, folder / "poet", dirs_exist_ok=True)
        write_json(folder / "account.json", asdict(self) | {"model": self.model is not None})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        kept = json.loads((folder / "account.json").read_text(encoding="utf-8"))
        kept["records"] = [StepRecord(**record) for record in kept["records"]]
        kept["moments"] = {int(step): tuple(at) for step, at in kept["moments"].items()}
        kept["model"] = folder / "poet" if kept["model"] else None
        kept["evaluation"] = kept["evaluation"] and Evaluation(**kept["evaluation"])
        return cls(**kept)


def now() -> int:
    """Unix time in milliseconds."""
    return int(time.time() * 1000)


def flat_params(params: Params) -> dict[str, str]:
    """`section.leaf` → value as text."""
    sections = params.model_dump()
    return {f"{s}.{leaf}": str(v) for s, leaves in sections.items() for leaf, v in leaves.items()}


def _after_training(name: str) -> bool:
    return name.startswith(("baseline.", "evaluate."))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in {"human", "ngram", "styles"}:
                yield from _leaves(f"{name}/{key}", inner)
    elif isinstance(value, (int, float)):
        yield name, value


def digest(path: Path) -> str:
    """SHA-256 over a file, or over the names and bytes of a folder's files."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for file in sorted(path.iterdir()):
        total.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


# What DVC writes while it runs is no change of the code.
_CODE = (".", ":!dvc.lock", ":!metrics")


def _git(*arguments: str) -> str:
    """What git says, '' where it has nothing to say or is not there."""
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _differences(params: Params) -> tuple[str, list[str]]:
    """HEAD, or the baseline of a DVC experiment, and what differs from its params.yaml."""
    revision = os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD")
    text = _git("show", f"{revision}:params.yaml") if revision else ""
    committed = parse_yaml(text, "params.yaml") if text else {}
    differences = [
        f"{section}.{leaf}={value}"
        for section, leaves in params.model_dump().items()
        for leaf, value in leaves.items()
        if section in committed and committed[section].get(leaf) != value
    ]
    return revision[:8], differences


def _name(revision: str, differences: list[str]) -> str:
    experiment = os.environ.get("DVC_EXP_NAME", "")
    shown = [part.split(".", 1)[1] for part in differences[:_DIFFERENCES_IN_NAME]]
    more = len(differences) - len(shown)
    text = ", ".join(shown) + (f" and {more} more" if more else "")
    text = text or f"params.yaml at {revision or 'no commit'}"
    return f"{experiment}: {text}" if experiment else text
