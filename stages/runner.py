"""What every stage does around its `main`: plain errors, and a note of how long it took."""

import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psutil

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import write_json

ROOT = Path(os.environ.get("DVC_ROOT") or Path(__file__).parents[1])
"""`dvc exp run --temp` works in a copy; DVC_ROOT names the repository that it copies."""
TIMINGS = Path(".nanopoet/timings.json")
"""Seconds that each stage took when it last ran. No DVC output: it differs from run to run."""
_interrupted = threading.Event()
_LAUNCHED = "TORCHELASTIC_RUN_ID" in os.environ
"""Whether this is one of several processes that a stage has started, which speaks for them."""


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main` and exit.

    A mistake of the user ends in one line and status 1, an interruption in one
    line and the status that a shell gives it; a traceback is a bug of ours.
    """
    gc.enable()
    gc.freeze()  # what was imported stays: neither a collection nor the exit has to look at it
    name = Path(sys.argv[0]).stem
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, _interrupt)
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_end_with_dvc, daemon=True).start()
    start = time.monotonic()
    try:
        main()
    except (NanopoetError, OSError) as error:
        sys.exit(f"error: {name}: {error}")
    except KeyboardInterrupt:
        if not _LAUNCHED:
            print(f"\n{name}: interrupted; run again", file=sys.stderr)
        sys.exit(130)
    if name not in {"summary", "ui", "mend"}:
        write_json(TIMINGS, read_timings() | {name: round(time.monotonic() - start, 1)})
    gc.freeze()


def read_timings() -> dict[str, float]:
    """Stage → seconds, as far as known."""
    try:
        timings: dict[str, float] = json.loads(TIMINGS.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return timings


def _end_with_dvc() -> None:
    """Interrupt this process when the `dvc` that started it has died.

    After kill -9 of `dvc`, a training would go on for hours, keep the next one from its state,
    and leave a result that DVC does not know.
    """
    dvc = _dvc()
    while _dvc() == dvc:
        time.sleep(0.5)
    if not _interrupted.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _dvc() -> int | None:
    """The process that started this stage, behind the shell that it did so with.

    bash becomes the command that it is given; Debian's sh stays, and lives on without `dvc`.
    """
    try:
        parent = psutil.Process(os.getppid())
        is_shell = parent.cmdline()[-2:-1] == ["-c"] and "stages." in parent.cmdline()[-1]
        return parent.ppid() if is_shell else parent.pid
    except psutil.Error:
        return None


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    """Interrupt the stage; the second time, end it where it is.

    By then it may wait for its tracking thread. To go on without that one would let go of the
    training's lock while it still sends steps, which a next training then sends as well.
    """
    if _interrupted.is_set():
        if _LAUNCHED:  # torchrun passes on what the terminal sent to all
            return
        os._exit(130)
    _interrupted.set()
    raise KeyboardInterrupt
