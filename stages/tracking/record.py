"""Record of one result of the pipeline: all that its MLflow run shows, made from files."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from nanopoet.common.errors import FileError
from nanopoet.common.files import read_json, write_text
from nanopoet.params import Params
from nanopoet.training.history import StepRecord, read_history
from stages.tracking.provenance import flatten_params, input_digests, name_and_tags

_FILE, _MODEL = "record.json", "poet"
_AFTER_TRAINING = ("baseline.", "evaluate.")


@dataclass
class LoggedStep:
    """One step of a training.

    Attributes:
        record: its metrics.
        time: Unix time in milliseconds.
        rates: speeds by name, such as tokens per second; empty for a step of an earlier process.
    """

    record: StepRecord
    time: int
    rates: dict[str, float] = field(default_factory=dict)


@dataclass
class RunRecord:
    """One result of the pipeline.

    Attributes:
        name: tells the run from others.
        params: `section.leaf` → value. Params of the evaluation come with it.
        tags: origin of the result.
        inputs: name → digest of each input.
        started: Unix time in milliseconds.
        steps: steps of the training so far.
        status: RUNNING, FINISHED, FAILED or KILLED.
        run_id: id of the MLflow run, once it is known.
        model: folder of the finished model.
        evaluation: content of metrics/evaluate.json; empty before the evaluation.
        poems: content of data/samples.txt.
        report: the HTML page, if it is written yet.
    """

    name: str
    params: dict[str, str]
    tags: dict[str, str]
    inputs: dict[str, str]
    started: int
    steps: list[LoggedStep]
    status: str = "RUNNING"
    run_id: str | None = None
    model: Path | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)
    poems: str = ""
    report: str | None = None

    @classmethod
    def begin(cls, params: Params, records: Sequence[StepRecord] = ()) -> Self:
        """Make the record of a training that begins, or continues after `records`."""
        name, tags = name_and_tags(params)
        flat, start = flatten_params(params), now()
        before = {each: v for each, v in flat.items() if not each.startswith(_AFTER_TRAINING)}
        steps = [LoggedStep(record, start) for record in records]
        return cls(name, before, tags, input_digests(), start, steps)

    @classmethod
    def from_files(cls, params: Params, model: Path) -> Self:
        """Make the record of a finished training again from its model folder."""
        record = cls.begin(params, read_history(model))
        record.tags["nanopoet.rebuilt"] = "true"
        record.model, record.status = model, "FINISHED"
        return record

    def log_step(self, record: StepRecord, rates: dict[str, float]) -> None:
        """Add a step that has just been made, and its speeds."""
        self.steps.append(LoggedStep(record, now(), rates))

    def add_evaluation(self, params: Params, report: str | None) -> None:
        """Add the files of the stage `evaluate`, the params they follow from, and the report."""
        flat = flatten_params(params)
        self.params |= {each: v for each, v in flat.items() if each.startswith(_AFTER_TRAINING)}
        self.evaluation = read_json("metrics/evaluate.json")
        self.poems = Path("data/samples.txt").read_text(encoding="utf-8")
        self.report = report

    def save(self, folder: Path) -> None:
        """Write the record into a folder, with a copy of the model."""
        if self.model and self.model != folder / _MODEL:
            shutil.copytree(self.model, folder / _MODEL, dirs_exist_ok=True)
        write_text(folder / _FILE, TypeAdapter(RunRecord).dump_json(self).decode())

    @staticmethod
    def load(folder: Path) -> "RunRecord | None":
        """Read a record that `save` wrote; None if there is none, or not a whole one."""
        path = folder / _FILE
        try:
            record = TypeAdapter(RunRecord).validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise FileError(path, "not a record of this version; delete its folder") from None
        record.model = record.model and folder / _MODEL
        return record


def now() -> int:
    """Return the Unix time in milliseconds."""
    return int(time.time() * 1000)
