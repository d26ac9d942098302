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
from nanopoet.param_sections import Params
from nanopoet.training.history import StepRecord, read_history
from stages.tracking.provenance import flatten_params, input_digests, name_and_tags
from stages.tracking.trainings import TRAININGS

VAL = "poems/val"
"""Name of the validation poems among the inputs, and as a dataset of MLflow."""
DIGEST_LENGTH = 32
"""Characters of a digest that MLflow takes."""

_FILE, _MODEL, _MODELS = "record.json", "poet", "models"


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
        models: step → folder of an intermediate model that MLflow gets, too.
        evaluation: content of metrics/evaluate.json; empty before the evaluation.
        poems: content of data/samples.txt.
        report: the HTML page, if it is written yet.
        stage: the stage that trains, a key of `TRAININGS`.
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
    models: dict[int, Path] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    poems: str = ""
    report: str | None = None
    stage: str = "pretrain"

    @classmethod
    def begin(cls, stage: str, params: Params, records: Sequence[StepRecord] = ()) -> Self:
        """Make the record of a training that begins, or continues after `records`."""
        training, start = TRAININGS[stage], now()
        name, tags = name_and_tags(stage, params)
        steps = [LoggedStep(record, start) for record in records]
        flat = flatten_params(params, training.sections)
        return cls(name, flat, tags, input_digests(), start, steps, stage=stage)

    @classmethod
    def from_files(cls, stage: str, params: Params) -> Self:
        """Make the record of a finished training again from its model folder."""
        model = TRAININGS[stage].model
        record = cls.begin(stage, params, read_history(model))
        record.tags["nanopoet.rebuilt"] = "true"
        record.model, record.status = model, "FINISHED"
        return record

    @property
    def val_digest(self) -> str:
        """Digest of the validation poems, as MLflow has it."""
        return self.inputs[VAL][:DIGEST_LENGTH]

    @property
    def last_step(self) -> int:
        """Number of the last step so far."""
        return self.steps[-1].record.step

    def log_step(self, record: StepRecord, rates: dict[str, float]) -> None:
        """Add a step that has just been made, and its speeds."""
        self.steps.append(LoggedStep(record, now(), rates))

    def add_evaluation(self, params: Params, report: str | None) -> None:
        """Add the files of the stage `evaluate`, the params they follow from, and the report."""
        training = TRAININGS[self.stage]
        self.params |= flatten_params(params, training.judged_by)
        self.evaluation = read_json(training.metrics)
        self.poems = training.poems.read_text(encoding="utf-8")
        self.report = report

    def save(self, folder: Path) -> None:
        """Write the record into a folder, with copies of its models."""
        copies = {folder / _MODELS / str(step): model for step, model in self.models.items()}
        copies |= {folder / _MODEL: self.model} if self.model else {}
        for copy, model in copies.items():
            if copy != model:
                shutil.copytree(model, copy, dirs_exist_ok=True)
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
        record.models = {step: folder / _MODELS / str(step) for step in record.models}
        return record


def now() -> int:
    """Return the Unix time in milliseconds."""
    return int(time.time() * 1000)
