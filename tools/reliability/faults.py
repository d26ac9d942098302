"""Kill or interrupt processes of the pipeline at random times, then let it continue."""

import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
from tqdm import tqdm

from nanopoet.common.yaml import read_yaml
from nanopoet.corpus.poems import write_poems
from tests.support.params import SMALL
from tests.support.poems import make_poems
from tests.support.project import Project

STEPS = 150
PARAMS: dict[str, dict[str, Any]] = SMALL | {
    "load": {"source": "mine.jsonl"},
    "pretrain": SMALL["pretrain"]
    | {"max_steps": STEPS, "eval_every": 30, "eval_windows": 16, "checkpoint_every": 4},
}
"""Params with which a stage takes some seconds and a training saves its state many times."""

HOW = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
TARGETS = ("the stage", "dvc", "both")

_REACHES = (3.0, 8.0, 20.0)
"""Longest times in seconds from the start of `dvc repro`, or from a fault, to the next fault.

Short times hit the first stages. Long times let a slow stage end. Finished stages stay finished.
"""
HANGS = 120.0
"""Seconds after which a process that was asked to end counts as hanging."""
_ORPHAN = "another process is training"


@dataclass
class Outcome:
    """Outcome of a series of faults.

    Attributes:
        faults: (signal, target, stage that ran) → number of times.
        failures: descriptions of what went wrong.
        projects: number of disturbed pipelines, each from nothing to its end.
    """

    faults: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    projects: int = 0


def new_project(folder: Path) -> Project:
    """Make a small project that has not run."""
    folder.mkdir(parents=True)
    project = Project(folder, **PARAMS)
    write_poems(folder / "mine.jsonl", make_poems(300))
    return project


def state(project: Project) -> dict[str, str]:
    """Return the digest of each out of each stage, as dvc.lock has it."""
    lock = read_yaml(project.folder / "dvc.lock")
    outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    assert len(outs) > 15
    return outs


def files(project: Project) -> set[str]:
    """List all files but those of git, DVC and MLflow, which keep files of their own."""
    skipped = {".git", ".dvc", "mlartifacts", "__pycache__"}
    found = set()
    for path in project.folder.rglob("*"):
        parts = path.relative_to(project.folder).parts
        if path.is_file() and not skipped & set(parts) and not parts[0].startswith("mlflow.db"):
            found.add("/".join(parts))
    return found


def check(project: Project, reference: Project) -> Iterator[str]:
    """Describe each difference from a project whose pipeline nobody disturbed."""
    project.run("tools.repair_dvc")
    done = project.run("dvc", "repro", "report")
    if done.returncode:
        yield f"the undisturbed `dvc repro` failed: {done.stdout[-300:]}{done.stderr[-300:]}"
        return
    wanted, found = state(reference), state(project)
    yield from (f"{path} differs" for path in wanted if found.get(path) != wanted[path])
    again = project.run("dvc", "repro", "report")
    if "Running stage" in again.stdout or again.returncode:
        yield f"`dvc repro` does not find it up to date: {again.stdout}{again.stderr}"
    # Empty lock files stay.
    extra = {name for name in files(project) - files(reference) if not name.endswith(".lock")}
    yield from (f"{name} is left" for name in sorted(extra))
    runs = project.tracked()
    if len(runs) != 1:
        yield f"MLflow has {len(runs)} runs: {[(run['status'], run['name']) for run in runs]}"
    for run in runs:
        if run["status"] != "FINISHED" or sorted(run["train"]) != list(range(STEPS)):
            yield f"MLflow's run is {run['status']} with {len(run['train'])} of {STEPS} steps"
        if "evaluate/nats_per_character" not in run["metrics"] or "report.html" not in run["files"]:
            yield "MLflow's run lacks the evaluation"


def series(
    folder: Path,
    reference: Project,
    seed: int,
    count: int,
    hows: Sequence[str] = tuple(HOW),
    most: float = math.inf,
) -> Outcome:
    """Disturb `dvc repro` at random times until it has finished, check it, and begin again.

    Args:
        folder: folder in which the projects are made.
        reference: a project whose pipeline nobody disturbed.
        seed: seed of the times, the signals and their targets.
        count: number of faults, at least.
        hows: names of signals.
        most: number of faults of a project after which it runs undisturbed. A slow machine may need
            many faults until a project finishes between two of them.
    """
    rng, outcome = random.Random(seed), Outcome()  # noqa: S311
    with tqdm(total=count, unit="fault", disable=None, desc=folder.name) as bar:
        while outcome.faults.total() < count:
            project = new_project(folder / f"{seed}-{outcome.projects}")
            before = outcome.faults.total()
            while not _disturbed(project, rng, hows, outcome):
                bar.update(outcome.faults.total() - bar.n)
                if outcome.faults.total() - before >= most:
                    break
            wait_for_orphans(project)
            outcome.failures += check(project, reference)
            outcome.projects += 1
            shutil.rmtree(project.folder)
    return outcome


def _disturbed(project: Project, rng: random.Random, hows: Sequence[str], outcome: Outcome) -> bool:
    """Run `dvc repro` with faults, and return whether it finished.

    It continues after some faults, such as Ctrl-C that reaches `dvc` alone. Then another follows.
    """
    log = project.folder / ".git/repro.log"
    faults: list[str] = []
    repaired = project.run("tools.repair_dvc")  # as `make repro` does
    assert repaired.returncode == 0, repaired.stderr
    with open(log, "w+", encoding="utf-8") as output, running(project, output) as dvc:
        while not _wait(dvc, rng.uniform(0.3, rng.choice(_REACHES))):
            how, target = rng.choice(hows), rng.choice(TARGETS)
            outcome.faults[how, target, _send(dvc, HOW[how], target)] += 1
            faults.append(f"{how} to {target}")
            if _wait(dvc, 10):
                break
        ended = dvc.wait(timeout=HANGS)
    printed = log.read_text(encoding="utf-8")
    # A signal may also hit DVC, or Python before it runs our code.
    if "Traceback" in printed and f'File "{project.folder}/' in printed:
        outcome.failures.append(f"{faults}: a traceback: {printed[-1500:]}")
    if not faults and ended and _ORPHAN not in printed:
        outcome.failures.append(f"`dvc repro` after a fault failed: {printed[-600:]}")
    if rng.random() < 0.5:  # otherwise the next `dvc repro` meets the orphan
        wait_for_orphans(project)
    return ended == 0


def run_repro(project: Project, outcome: Outcome, what: str) -> str:
    """Run `dvc repro` without a fault, note a failure, and return what it printed."""
    project.run("tools.repair_dvc")
    done = project.run("dvc", "repro", "report")
    printed = done.stdout + done.stderr
    if done.returncode or "Traceback" in printed:
        outcome.failures.append(f"after {what}, `dvc repro` failed: {printed[-600:]}")
    return printed


@contextmanager
def running(project: Project, output: IO[str]) -> Iterator["subprocess.Popen[str]"]:
    """Run `dvc repro` in a process session of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "report"],
        cwd=project.folder,
        env=project.environment,
        stdout=output,
        stderr=output,
        encoding="utf-8",
        start_new_session=True,
        # A shell ignores SIGINT in background jobs, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as dvc:
        try:
            yield dvc
        except BaseException:  # otherwise `with` would wait for its end
            os.killpg(dvc.pid, signal.SIGKILL)
            raise


def _wait(process: "subprocess.Popen[str]", seconds: float) -> bool:
    """Tell whether a process ended within `seconds`."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def stages(folder: Path) -> list[psutil.Process]:
    """List the processes of a project's stages, orphans included."""
    everything = psutil.process_iter(["cwd"])
    return [p for p in everything if p.info["cwd"] == str(folder) and _stage(p)]


def _send(dvc: "subprocess.Popen[str]", number: signal.Signals, target: str) -> str:
    """Send a signal and return the name of the stage that ran."""
    inside = {
        child: name
        for child in psutil.Process(dvc.pid).children(recursive=True)
        if (name := _stage(child))
    }
    if target == "both" or (target == "the stage" and not inside):
        os.killpg(dvc.pid, number)
    elif target == "dvc":
        dvc.send_signal(number)
    else:
        for child in inside:
            child.send_signal(number)
    return next(iter(inside.values()), "dvc itself")


def _stage(process: psutil.Process) -> str:
    """Name the stage that a process runs; "" if it runs none."""
    try:
        command = process.cmdline()
    except psutil.NoSuchProcess:
        return ""
    modules = [part for part in command[1:4] if part.startswith("stages.")]
    return modules[0].removeprefix("stages.") if modules else ""


def wait_for_orphans(project: Project) -> None:
    """Wait until no stage of a project runs."""
    psutil.wait_procs(stages(project.folder), timeout=HANGS)
