"""Flip and cut files, fill disks, let clocks jump, and check the result of each."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from nanopoet.common.yaml import read_yaml
from tests.support.project import ROOT, Project
from tools.reliability.faults import (
    Outcome,
    check,
    new_project,
    run_repro,
    running,
    state,
    wait_for_orphans,
)

CLOCK = """
import time
_time, _time_ns = time.time, time.time_ns

def _offset():
    with open({clock!r}) as file:
        return int(file.read() or 0)

time.time = lambda: _time() + _offset()
time.time_ns = lambda: _time_ns() + _offset() * 10**9
"""
"""Code that each Python process runs first. A file holds the error of its clock in seconds."""
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
"""Command whose mounts only its own processes see. It needs no privileges."""


def outs(project: Project) -> list[Path]:
    """List every file that a stage made, also in folders."""
    lock = read_yaml(project.folder / "dvc.lock")
    paths = [
        project.folder / out["path"] for stage in lock["stages"].values() for out in stage["outs"]
    ]
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sorted(file for file in files if file.is_file())


def damaged_outs(
    project: Project, reference: Project, seed: int, chosen: Sequence[str] | None = None
) -> Outcome:
    """Flip a bit of each file, cut it, remove it, and let `dvc repro` restore it.

    Args:
        project: a project whose pipeline has run.
        reference: a project that nobody damages.
        seed: seed of the places in the files.
        chosen: files to damage; None for all that stages made.
    """
    rng, outcome = random.Random(seed), Outcome()  # noqa: S311
    wanted = state(reference)
    files = [project.folder / name for name in chosen] if chosen else outs(project)
    for path in tqdm(files, unit="file", disable=None, desc="damaging files"):
        name = path.relative_to(project.folder).as_posix()
        for how in ("a bit flipped", "cut", "lost"):
            raw = path.read_bytes()
            path.unlink()  # DVC's cache may hold the same file by a link
            if how == "a bit flipped":
                damaged = bytearray(raw)
                damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
                path.write_bytes(damaged)
            elif how == "cut":
                path.write_bytes(raw[: rng.randrange(len(raw))])
            outcome.faults[how, name, "at rest"] += 1
            printed = run_repro(project, outcome, f"{name} {how}")
            if state(project) != wanted or path.read_bytes() != raw:
                outcome.failures.append(f"{name} {how}: not as before: {printed[-400:]}")
    return outcome


def cut_writes(project: Project, limits: Sequence[int], stages: Sequence[str]) -> Outcome:
    """Run each stage where no file may grow beyond a limit, so that a write fails half-way.

    The stage must print one line and touch no out.
    """
    outcome = Outcome()
    for stage in stages:
        for limit in limits:
            before = {path: path.read_bytes() for path in outs(project)}
            done = subprocess.run(
                [sys.executable, "-m", f"stages.{stage}"],
                cwd=project.folder,
                env=project.environment | {"MLFLOW_TRACKING_URI": "sqlite:////dev/full/x"},
                capture_output=True,
                encoding="utf-8",
                check=False,
                preexec_fn=lambda limit=limit: _limit_files(limit),  # type: ignore[misc]
            )
            outcome.faults["a write that fails", stage, f"after {limit:,} bytes"] += 1
            _expect_plain_error(done, f"{stage} with {limit:,} bytes", outcome)
            after = {path: path.read_bytes() for path in outs(project)}
            if after != before:
                outcome.failures.append(f"{stage} with {limit:,} bytes: an out was touched")
            _expect_no_partial(project, outcome, stage)
    return outcome


def _limit_files(limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the signal would kill the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _expect_plain_error(
    done: "subprocess.CompletedProcess[str]", what: str, outcome: Outcome
) -> None:
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.returncode != 1 or len(errors) != 1 or "Traceback" in done.stderr:
        outcome.failures.append(f"{what}: status {done.returncode}: {done.stderr[-600:]}")


def _expect_no_partial(project: Project, outcome: Outcome, what: str) -> None:
    left = [path.name for path in project.folder.rglob("*.partial")]
    if left:
        outcome.failures.append(f"{what}: {left} left")


def clock_jumps(folder: Path, reference: Project, seed: int) -> Outcome:
    """Let the clock of all processes jump by up to three years while the pipeline runs."""
    outcome, rng = Outcome(projects=1), random.Random(seed)  # noqa: S311
    project = new_project(folder)
    patch, clock = folder / ".git/patch", folder / ".git/clock"
    patch.mkdir()
    clock.write_text("0", encoding="utf-8")
    text = CLOCK.format(clock=str(clock))
    (patch / "sitecustomize.py").write_text(text, encoding="utf-8")
    project.environment["PYTHONPATH"] = str(patch)
    log = folder / ".git/repro.log"
    with open(log, "w", encoding="utf-8") as output, running(project, output) as dvc:
        while dvc.poll() is None:
            clock.write_text(f"{rng.randint(-(10**8), 10**8)}", encoding="utf-8")
            outcome.faults["a clock that jumps", "all processes", "as the chain runs"] += 1
            time.sleep(rng.uniform(0.5, 1.5))
    printed = log.read_text(encoding="utf-8")
    if dvc.returncode or "Traceback" in printed:
        outcome.failures.append(f"with a clock that jumps `dvc repro` failed: {printed[-1500:]}")
    del project.environment["PYTHONPATH"]
    outcome.failures += check(project, reference)
    return outcome


def two_at_once(folder: Path, reference: Project, count: int) -> Outcome:
    """Start two `dvc repro` together; neither may spoil the files of the other."""
    outcome, project = Outcome(projects=1), new_project(folder)
    for _ in range(count):
        with (
            open(folder / ".git/one.log", "w+", encoding="utf-8") as log,
            open(folder / ".git/two.log", "w+", encoding="utf-8") as other_log,
            running(project, log) as one,
            running(project, other_log) as two,
        ):
            codes = one.wait(), two.wait()
            outcome.faults["two at once", "dvc repro", "from nothing"] += 1
            for file in (log, other_log):
                file.seek(0)
                printed = file.read()
                if "Traceback" in printed:
                    outcome.failures.append(f"two at once: a traceback: {printed[-1000:]}")
            if 0 not in codes:
                outcome.failures.append(f"two at once: neither came through: {codes}")
    wait_for_orphans(project)
    outcome.failures += check(project, reference)
    return outcome


# Mounts that only one process sees. `python -m tools.reliability.damage` runs inside.


def no_space(folder: Path, reference: Project, sizes: Sequence[int]) -> Outcome:
    """Run the pipeline on a disk that fills up, then give it room and run it again."""
    outcome = Outcome()
    for size in sizes:
        where = folder / str(size)
        where.mkdir(parents=True)
        done = _inside("full", where, size, reference.folder)
        outcome.faults["a disk that is full", f"of {size:,} kB", "somewhere in the chain"] += 1
        outcome.failures += _problems(done, f"a disk of {size:,} kB")
        outcome.projects += 1
    return outcome


def read_only(project: Project, stages: Sequence[str]) -> Outcome:
    """Run each stage where all folders of outs are read-only; it must print one line."""
    outcome = Outcome()
    for stage in stages:
        done = _inside("read-only", project.folder, stage)
        outcome.faults["a read-only folder", stage, "data, models, metrics, report"] += 1
        _expect_plain_error(done, f"{stage} on read-only folders", outcome)
    return outcome


def can_mount() -> bool:
    """Tell whether a process may make mounts that only it sees."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "x", "/mnt"], check=False,
                          capture_output=True).returncode == 0  # fmt: skip


def _inside(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tools.reliability.damage", *map(str, command)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # as `Project` does: others run beside it
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def _problems(done: "subprocess.CompletedProcess[str]", what: str) -> Iterator[str]:
    if done.returncode:
        yield f"{what}: {done.stdout[-800:]}{done.stderr[-1500:]}"
    else:
        yield from (f"{what}: {line}" for line in done.stdout.splitlines())


def _mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def _full(folder: Path, kilobytes: int, reference: Project) -> None:
    """Run the pipeline on a small disk, enlarge the disk, and print each problem."""
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    project = new_project(folder / "project")
    done = project.run("dvc", "repro", "report")
    if done.returncode == 0:
        print("it had room enough")
    printed = done.stdout + done.stderr
    if "Traceback" in printed:
        print(f"a traceback: {printed[-1500:]!r}")
    _mount("-o", "remount,size=500m", str(folder))
    for failure in check(project, reference):
        print(failure)


def _read_only(folder: Path, stage: str) -> None:
    for name in ("data", "models", "metrics", "report"):
        _mount("--bind", str(folder / name), str(folder / name))
        _mount("-o", "remount,bind,ro", str(folder / name))
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, "-m", f"stages.{stage}"])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["full", folder, kilobytes, reference]:
            _full(Path(folder), int(kilobytes), Project.at(Path(reference)))
        case ["read-only", folder, stage]:
            _read_only(Path(folder), stage)
        case _:
            sys.exit("this module is run by tools.reliability alone")
