"""The frame around every stage: errors on one line, interruptions, and the time it took."""

import gc
import getpass
import io
import os
import re
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.common.files import read_json, write_json
from nanopoet.common.yaml import read_yaml
from stages.interruption import IS_WORKER, end_early_when_told

ROOT = Path(os.environ.get("DVC_ROOT") or Path(__file__).parents[1])
"""Folder of the repository. `dvc exp run --temp` works in a copy and names the original."""

PIPELINE = Path("dvc.yaml")
TIMINGS = Path(".nanopoet/timings.json")
"""Seconds of the last run of each stage. DVC does not track them, because they always differ."""


def run(main: Callable[[], None], takes_arguments: bool = False) -> None:
    """Run the `main` of a stage, a tool or a benchmark, and exit.

    A mistake of the user ends with one line and status 1. An interruption ends with one line and
    status 130, as in a shell. A traceback is a bug.

    Args:
        main: does the work.
        takes_arguments: whether it reads arguments of the command line. Else `--help` prints what
            the file says of itself, and any other argument is refused.
    """
    if not takes_arguments:
        ArgumentParser(
            description=sys.modules["__main__"].__doc__, formatter_class=RawDescriptionHelpFormatter
        ).parse_args()
    gc.enable()
    gc.freeze()  # neither a collection nor the exit has to visit what was imported
    script = Path(sys.argv[0])
    name = script.parent.name if script.stem == "__main__" else script.stem
    end_early_when_told()
    fit_into_any_environment()
    start = time.monotonic()
    try:
        if "DVC_STAGE" in os.environ:
            check_folders()
        main()
        if script.parent.name == "stages":
            write_json(TIMINGS, read_timings() | {script.stem: round(time.monotonic() - start, 1)})
    except (NanopoetError, OSError) as error:
        sys.exit(f"error: {name}: {_explain(error)}")
    except (MemoryError, RuntimeError) as error:
        if not (lack := _lack_of_memory(error)):
            raise
        sys.exit(f"error: {name}: {lack}")
    except KeyboardInterrupt:
        if not IS_WORKER:
            print(f"\n{name}: interrupted; run again", file=sys.stderr)
        sys.exit(130)
    gc.freeze()


def _explain(error: Exception) -> str:
    """Name the file that an error is about, and what makes it again."""
    if isinstance(error, OSError) and error.filename is None:
        return error.strerror or str(error)
    if isinstance(error, OSError):
        missing = isinstance(error, FileNotFoundError)
        error = FileError(error.filename, "no such file" if missing else str(error.strerror))
        return f"{error}{remedy(error) if missing else ''}"
    path = error.path if isinstance(error, FileError) else str(error).split(":")[0]  # and its line
    return f"{error}{remedy(FileError(path, ''))}"


def _lack_of_memory(error: Exception) -> str:
    """Explain an error by which Python, NumPy or torch says that memory is short, else nothing.

    torch has no class of its own for it on a CPU.
    """
    found = re.search(r"(?i)(unable|tried) to allocate ([\d.]+ \w+)", str(error))
    if not found and not isinstance(error, MemoryError):
        return ""
    size = f" for {found[2]}" if found else ""
    return (
        f"there is not enough memory{size}; lower a size of this stage in params.yaml, such as "
        "batch_size"
    )


def fit_into_any_environment() -> None:
    """Get along with a terminal that lacks characters, and with a user who has no name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        getpass.getuser()
    except (KeyError, OSError):  # torch and MLflow ask for it, too
        os.environ["LOGNAME"] = str(os.getuid())


def read_timings() -> dict[str, float]:
    """Return the seconds of each stage, as far as known."""
    try:
        return read_json(TIMINGS)
    except NanopoetError:
        return {}


def remedy(error: FileError) -> str:
    """Name the command that makes a missing or damaged file again; empty if no stage makes it.

    DVC trusts a file that the stage itself wrote damaged, hence `--force`.
    """
    path = error.path.absolute()
    for stage, outs in outs_by_stage("outs", "metrics").items():
        if any(out == path or out in path.parents for out in outs):
            force = "--force " if path.exists() else ""
            return f"; run `dvc repro {force}{stage}`"
    return ""


def check_folders() -> None:
    """Refuse outs in a folder outside of the repository, which DVC would refuse after the stage.

    Raises:
        NanopoetError: a link leads from the repository to such a folder.
    """
    here = Path.cwd()
    for out in (out for outs in outs_by_stage("outs").values() for out in outs):
        folder = out.parent
        if not folder.resolve().is_relative_to(here.resolve()):
            raise NanopoetError(
                f"{folder.relative_to(here)} is a link to {folder.resolve()}, and DVC keeps no "
                f"output outside of the repository; put a folder in its place, and DVC's cache on "
                f"the other disk by `dvc cache dir`"
            )


def outs_by_stage(*kinds: str) -> dict[str, list[Path]]:
    """Return the absolute paths of the outs, metrics or both of each stage in dvc.yaml."""
    try:
        stages = read_yaml(PIPELINE).get("stages", {})
    except NanopoetError:  # a stage also runs without DVC
        return {}
    return {
        name: [path for kind in kinds for path in _paths(stage.get(kind, []))]
        for name, stage in stages.items()
    }


def _paths(entries: Iterable[Any]) -> list[Path]:
    """Return the paths of a list in which each entry is a path or a mapping of one to options."""
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return [Path(name).absolute() for name in names]
