"""A copy of the repository with a small pipeline that really runs."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from tests.support.yaml import write_yaml

ROOT = Path(__file__).parents[2]

# Importing MLflow takes seconds. One process does it once, and its forks read the stores.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "mlflow.pyfunc",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.system_metrics.system_metrics_monitor",
        "pandas",
        "pydantic",
        "safetensors.torch",
        "torch.distributed.run",
    ]
)


def _send_runs(folder: Path, environment: dict[str, str], answer: Connection) -> None:
    """Send all that MLflow has of each run of the project in a folder."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    import mlflow

    from stages.tracking.uploader import open_store

    assert Path(sys.modules["stages.tracking.uploader"].__file__ or "").parents[2] == folder
    _, experiment = open_store()
    client = mlflow.MlflowClient()
    try:
        best = client.get_model_version_by_alias("nanopoet", "best").run_id
    except mlflow.MlflowException:
        best = None
    found = []
    for run in client.search_runs([experiment], order_by=["attributes.start_time ASC"]):
        assert run.inputs is not None
        assert run.outputs is not None
        run_id, steps = run.info.run_id, client.get_metric_history
        found.append(
            {
                "id": run_id,
                "best": run_id == best,
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "metrics": run.data.metrics,
                "tags": run.data.tags,
                "inputs": [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs],
                "models": [output.model_id for output in run.outputs.model_outputs],
                "val": [(m.step, m.value) for m in steps(run_id, "loss/val")],
                "train": [m.step for m in steps(run_id, "loss/train")],
                "files": [file.path for file in client.list_artifacts(run_id)],
                "pictures": [file.path for file in client.list_artifacts(run_id, "plots")],
            }
        )
    answer.send(found)


class Project:
    """A copy of the repository with small parameters and a corpus of its own."""

    def __init__(self, folder: Path, **changes: dict[str, Any]) -> None:
        self._at(folder)
        for name in ("stages", "nanopoet", "tools"):
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        (folder / ".dvc").mkdir()
        for name in (
            "dvc.yaml",
            "params.yaml",
            "recipes.yaml",
            ".gitignore",
            ".dvcignore",
            ".dvc/config",
        ):
            shutil.copy(ROOT / name, folder / name)
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        self.set(**changes)

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Use the project that is already in `folder`."""
        project = cls.__new__(cls)
        project._at(folder)
        return project

    def _at(self, folder: Path) -> None:
        self.folder = folder
        self.umask = -1
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def set(self, **changes: dict[str, Any]) -> None:
        """Change params.yaml: section → leaf → value."""
        # At the top, it would make `_look` import the nanopoet of the repository, not of the copy.
        from nanopoet.common.yaml import read_yaml

        path = self.folder / "params.yaml"
        params = read_yaml(path)
        for section, values in changes.items():
            params[section].update(values)
        write_yaml(path, params)

    def commit(self, message: str = "everything") -> None:
        """Commit everything to git."""
        for command in (
            ("add", "--all"),
            ("commit", "--quiet", "--allow-empty", "--message", message),
        ):
            git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *command]
            subprocess.run(git, cwd=self.folder, check=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m <command>` in the project."""
        with self.start(*command) as process:
            stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start `python -m <command>` in the project."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=self.umask,
        )

    def repro(self, target: str = "report") -> list[str]:
        """Run `dvc repro` and return the stages that ran."""
        done = self.run("dvc", "repro", target)
        assert done.returncode == 0, done.stdout + done.stderr
        return [
            line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running")
        ]

    def metrics(self, stage: str) -> dict[str, Any]:
        """Read the metrics of a stage."""
        path = self.folder / f"metrics/{stage}.json"
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return figures

    def tracked(self) -> list[dict[str, Any]]:
        """Return all that MLflow has of each run, the oldest first."""
        receiver, sender = _FORKS.Pipe(duplex=False)
        arguments = self.folder.resolve(), self.environment, sender
        process = _FORKS.Process(target=_send_runs, args=arguments)
        process.start()
        sender.close()
        try:
            runs: list[dict[str, Any]] = receiver.recv()
        except EOFError:
            raise AssertionError("reading MLflow's store failed; see above") from None
        finally:
            process.join()
        return runs
