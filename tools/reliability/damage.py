"""Files are flipped and cut, disks fill up, clocks jump: each with what should come of it."""

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
"""What each Python process runs as it starts: a file says by how much its clock is wrong."""
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
"""Makes a mount that only the processes inside see; needs no rights."""


def outs(project: Project) -> list[Path]:
    """Every file that a stage made, its folder's files one by one."""
    lock = read_yaml(project.folder / "dvc.lock")
    paths = [
        project.folder / out["path"] for stage in lock["stages"].values() for out in stage["outs"]
    ]
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sorted(file for file in files if file.is_file())


def damaged_outs(
    project: Project, reference: Project, seed: int, chosen: Sequence[str] | None = None
) -> Outcome:
    """Flip a bit of each file, cut it, lose it; `dvc repro` puts it right.

    Args:
        project: whose chain has run; it is so again afterwards.
        reference: one that nobody damages.
        seed: of the places.
        chosen: files to damage, all that stages made if None.
    """
    rng, outcome = random.Random(seed), Outcome()  # noqa: S311
    wanted = state(reference)
    files = [project.folder / name for name in chosen] if chosen else outs(project)
    for path in tqdm(files, unit="file", disable=None, desc="damaging files"):
        name = path.relative_to(project.folder).as_posix()
        for how in ("a bit flipped", "cut", "lost"):
            raw = path.read_bytes()
            path.unlink()  # what DVC's cache holds may be the same file
            if how == "a bit flipped":
                damaged = bytearray(raw)
                damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
                path.write_bytes(damaged)
            elif how == "cut":
                path.write_bytes(raw[: rng.randrange(len(raw))])
            outcome.faults[how, name, "at rest"] += 1
            told = run_repro(project, outcome, f"{name} {how}")
            if state(project) != wanted or path.read_bytes() != raw:
                outcome.failures.append(f"{name} {how}: not as before: {told[-400:]}")
    return outcome


def cut_writes(project: Project, limits: Sequence[int], stages: Sequence[str]) -> Outcome:
    """Each stage, where no file may grow beyond a limit: a write that fails half-way.

    The stage says so in one line, and no out is touched.
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
                text=True,
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
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # else the process is killed
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
    """The clock of the whole chain jumps by up to three years, forth and back, while it runs."""
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
    told = log.read_text(encoding="utf-8")
    if dvc.returncode or "Traceback" in told:
        outcome.failures.append(f"with a clock that jumps `dvc repro` failed: {told[-1500:]}")
    del project.environment["PYTHONPATH"]
    outcome.failures += check(project, reference)
    return outcome


def two_at_once(folder: Path, reference: Project, count: int) -> Outcome:
    """Two `dvc repro` start together; what one makes is not spoilt by the other."""
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
                told = file.read()
                if "Traceback" in told:
                    outcome.failures.append(f"two at once: a traceback: {told[-1000:]}")
            if 0 not in codes:
                outcome.failures.append(f"two at once: neither came through: {codes}")
    wait_for_orphans(project)
    outcome.failures += check(project, reference)
    return outcome


# Mounts that only one process sees: `python -m tools.reliability.damage` runs inside


def no_space(folder: Path, reference: Project, sizes: Sequence[int]) -> Outcome:
    """The chain on a disk that is full at some point, then on one with room."""
    outcome = Outcome()
    for size in sizes:
        where = folder / str(size)
        where.mkdir(parents=True)
        done = _inside("full", where, size, reference.folder)
        outcome.faults["a disk that is full", f"of {size:,} kB", "somewhere in the chain"] += 1
        outcome.failures += _told(done, f"a disk of {size:,} kB")
        outcome.projects += 1
    return outcome


def read_only(project: Project, stages: Sequence[str]) -> Outcome:
    """Each stage where all folders of outs are read-only: one clear error, status 1."""
    outcome = Outcome()
    for stage in stages:
        done = _inside("read-only", project.folder, stage)
        outcome.faults["a read-only folder", stage, "data, models, metrics, report"] += 1
        _expect_plain_error(done, f"{stage} on read-only folders", outcome)
    return outcome


def can_mount() -> bool:
    """Whether a process may make mounts that only it sees."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "x", "/mnt"], check=False,
                          capture_output=True).returncode == 0  # fmt: skip


def _inside(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tools.reliability.damage", *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def _told(done: "subprocess.CompletedProcess[str]", what: str) -> Iterator[str]:
    if done.returncode:
        yield f"{what}: {done.stdout[-800:]}{done.stderr[-1500:]}"
    else:
        yield from (f"{what}: {line}" for line in done.stdout.splitlines())


def _mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def _full(folder: Path, kilobytes: int, reference: Project) -> None:
    """Print what goes wrong."""
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    project = new_project(folder / "project")
    done = project.run("dvc", "repro", "report")
    if done.returncode == 0:
        print("it had room enough")
    told = done.stdout + done.stderr
    if "Traceback" in told:
        print(f"a traceback: {told[-1500:]!r}")
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
    if sys.argv[1] == "full":
        _full(Path(sys.argv[2]), int(sys.argv[3]), Project.at(Path(sys.argv[4])))
    else:
        _read_only(Path(sys.argv[2]), sys.argv[3])
