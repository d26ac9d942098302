"""MLflow, and nothing else imports it.

One run stands for one result of the pipeline: `pretrain` opens it, `evaluate`
adds to it. They meet through the digest of the model folder, a tag on the run,
so a result that DVC restores from its cache finds its old run again.
"""

import hashlib
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import pandas as pd
import torch
from filelock import FileLock
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from nanopoet.checkpoint import load_model
from nanopoet.history import read_history
from nanopoet.params import Params
from nanopoet.tokenizer import BEGIN_ID
from nanopoet.train import StepRecord

EXPERIMENT = "nanopoet"
RESULT_TAG = "nanopoet.result"
REBUILT_TAG = "nanopoet.rebuilt"


class Run:
    """The open MLflow run of a training."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._client = mlflow.MlflowClient()
        history = self._client.get_metric_history(run_id, "loss/train")
        self._logged = max((metric.step for metric in history), default=-1)

    def log_step(self, record: StepRecord) -> None:
        """Log what there is to tell of a step, a sample with it if the step has one.

        A step that the run has already, from before an interruption, is not logged twice.
        """
        if record.step <= self._logged:
            return
        if record.sample is not None:
            self._client.log_text(
                self.run_id, f"{record.sample}\n", f"samples/step_{record.step:06d}.txt"
            )
        values = {
            "loss/train": record.loss_train,
            "loss/val": record.loss_val,
            "grad_norm": record.grad_norm,
            "lr": record.lr,
            "tokens": record.tokens,
        }
        now = int(time.time() * 1000)
        metrics = [Metric(k, v, now, record.step) for k, v in values.items() if v is not None]
        self._client.log_batch(self.run_id, metrics=metrics)

    def log_result(self, model: Path, records: Sequence[StepRecord]) -> None:
        """Log the samples as a table and the model, and tie the run to the model's folder."""
        samples = [(record.step, record.sample) for record in records if record.sample is not None]
        self._client.log_table(
            self.run_id,
            {"step": [step for step, _ in samples], "poem": [poem for _, poem in samples]},
            "samples.json",
        )
        self._client.log_artifact(self.run_id, str(model / "history.csv"))
        mlflow.pyfunc.log_model(
            name="model",
            python_model=__file__,
            artifacts={"poet": str(model)},
            code_paths=[str(Path(__file__).parents[1] / "nanopoet")],
            signature=_SIGNATURE,
            input_example=(pd.DataFrame({"prompt": ["床前明月光"]}), {"max_new_tokens": 8}),
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in _REQUIREMENTS],
        )
        self._client.set_tag(self.run_id, RESULT_TAG, folder_digest(model))


@contextmanager
def open_run(params: Params, run_id: str | None, records: Sequence[StepRecord]) -> Iterator[Run]:
    """Open a run and close it with the status it deserves: FINISHED, FAILED or KILLED.

    A training that goes on continues the run `run_id`. Where this store does not
    have it, a new one gets the `records` of the steps before.
    """
    _connect()
    status = RunStatus.FAILED
    continued = _continued(run_id)
    run = continued or mlflow.start_run(run_name=_name(params))
    try:
        if continued is None:
            _log_inputs(params)
        run_to_log = Run(run.info.run_id)
        for record in records:
            run_to_log.log_step(record)
        yield run_to_log
        status = RunStatus.FINISHED
    except KeyboardInterrupt:
        status = RunStatus.KILLED
        raise
    finally:
        mlflow.end_run(RunStatus.to_string(status))


def _continued(run_id: str | None) -> mlflow.ActiveRun | None:
    if run_id is None:
        return None
    try:
        return mlflow.start_run(run_id=run_id)
    except MlflowException:
        return None  # deleted, or another store


def _name(params: Params) -> str:
    recipe = params.pretrain
    size = f"{recipe.layer_num}x{recipe.emb_size}"
    return f"{size}, {recipe.max_steps} steps, lr {recipe.lr:g}, seed {recipe.seed}"


def _log_inputs(params: Params) -> None:
    sections = params.model_dump()
    mlflow.log_params({f"{s}.{k}": v for s, keys in sections.items() for k, v in keys.items()})
    for part, context in (("train", "training"), ("val", "validation")):
        mlflow.log_input(_dataset(part), context=context)


def log_evaluation(params: Params, model: Path, figures: dict[str, Any], samples: Path) -> None:
    """Add final figures to the run that made `model`, or to one rebuilt from its files."""
    _connect()
    client = mlflow.MlflowClient()
    run_id = _find_run(model) or _rebuild_run(params, model)
    now = int(time.time() * 1000)
    client.log_batch(
        run_id, metrics=[Metric(f"evaluate/{k}", v, now, 0) for k, v in figures.items()]
    )
    client.log_artifact(run_id, str(samples))


def store_and_experiment() -> tuple[str, str]:
    """URI of the store and id of the experiment in it."""
    _connect()
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None, "connecting made it"
    return mlflow.get_tracking_uri(), experiment.experiment_id


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of a folder's files."""
    total = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        total.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _find_run(model: Path) -> str | None:
    runs = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string=f"tags.`{RESULT_TAG}` = '{folder_digest(model)}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    assert isinstance(runs, list)
    return runs[0].info.run_id if runs else None


def _rebuild_run(params: Params, model: Path) -> str:
    """A run out of a model folder whose own run this store does not have (pulled, or deleted)."""
    records = read_history(model)
    with open_run(params, None, records) as run:
        run.log_result(model, records)
        mlflow.set_tag(REBUILT_TAG, "true")
    return run.run_id


def _connect() -> None:
    """Choose the store: MLFLOW_TRACKING_URI, else one SQLite file in the repository's root."""
    from stages.stage import ROOT  # not at the top: MLflow runs this file without `stages`

    # Two that meet an empty store race on its first migration and one fails.
    with FileLock(ROOT / ".mlflow.lock"):
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            mlflow.set_tracking_uri(f"sqlite:///{ROOT.resolve() / 'mlflow.db'}")
            if mlflow.get_experiment_by_name(EXPERIMENT) is None:
                # Left to itself, MLflow puts artifacts below the folder of whoever came first.
                artifacts = (ROOT.resolve() / "mlartifacts").as_uri()
                mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts)
        mlflow.set_experiment(EXPERIMENT)


def _dataset(part: str) -> MetaDataset:
    path = Path("data") / part / "tokens.npy"
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    with warnings.catch_warnings():
        # MLflow registers its class for local files twice and warns that it has the choice.
        warnings.filterwarnings("ignore", "The specified dataset source can be interpreted")
        source = resolve_dataset_source(str(path))
    return MetaDataset(source, name=f"poems/{part}", digest=digest)  # type: ignore[abstract]


# The model as MLflow stores it. MLflow runs this file to make it ("models from code", so
# there is no pickle), with the artifact `poet` and a copy of `nanopoet` at hand.

_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "prompt")]),
    outputs=Schema([ColSpec(DataType.string)]),
    params=ParamSchema(
        [
            ParamSpec("max_new_tokens", DataType.long, 100),
            ParamSpec("temperature", DataType.double, 1.0),
            ParamSpec("seed", DataType.long, 0),
        ]
    ),
)
_REQUIREMENTS = (
    "filelock",
    "mlflow",
    "numpy",
    "orjson",
    "pandas",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "torch",
    "tqdm",
)


class Poet(PythonModel):
    """Continues each prompt; a prompt may be empty."""

    def load_context(self, context: PythonModelContext) -> None:
        self.model, self.tokenizer = load_model(context.artifacts["poet"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[str]:
        """One poem per row of the column `prompt`."""
        settings = {spec.name: spec.default for spec in _SIGNATURE.params} | (params or {})
        generator = torch.Generator().manual_seed(settings["seed"])
        poems = []
        for prompt in model_input["prompt"]:
            begin, text = [BEGIN_ID], self.tokenizer.encode(prompt)
            ids = self.model.generate(
                torch.tensor([begin + text]),
                settings["max_new_tokens"],
                temperature=settings["temperature"],
                generator=generator,
                stop_id=BEGIN_ID,
            )
            poems.append(self.tokenizer.decode_poem(ids[0].tolist()))
        return poems


set_model(Poet())
