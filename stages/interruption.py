"""How a stage ends early: Ctrl-C, SIGTERM, or the death of the `dvc` that started it."""

import os
import signal
import sys
import threading
import time
from types import FrameType

import psutil

IS_WORKER = "TORCHELASTIC_RUN_ID" in os.environ
"""True if `torchrun` started this process; the process that started `torchrun` reports for it."""

_CHECK_SECONDS = 0.5
"""Pause between two looks at the parent process."""

_PAUSE_SECONDS = 0.1
"""Pause before an interruption that was lost comes again."""

_interrupted = threading.Event()


def end_early_when_told() -> None:
    """Turn SIGINT, SIGTERM and the death of `dvc` into a KeyboardInterrupt."""
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell ignores SIGINT for the jobs that it runs in the background.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _interrupt_again
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_end_with_dvc, daemon=True).start()


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    """Interrupt the stage; the second time, exit at once.

    After the first interruption the stage may wait for its tracking thread. If it went on without
    the thread, it would release the lock of the training while the thread still sends steps. The
    next training would then send the same steps.
    """
    if _interrupted.is_set():
        if IS_WORKER:  # the terminal signals all processes, and torchrun passes the signal on
            return
        os._exit(130)
    _interrupted.set()
    raise KeyboardInterrupt


def _interrupt_again(lost: "sys.UnraisableHookArgs") -> None:
    """Repeat an interruption that came where Python cannot raise, such as in a `__del__`.

    Python prints such an exception and goes on, so a training would run to its end. The next signal
    comes from a thread, because this function, too, runs where Python cannot raise.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    _interrupted.clear()
    main = threading.main_thread().ident
    assert main is not None
    again = threading.Timer(_PAUSE_SECONDS, signal.pthread_kill, (main, signal.SIGTERM))
    again.daemon = True
    again.start()


def _end_with_dvc() -> None:
    """Interrupt this process when the `dvc` that started it has died.

    After kill -9 of `dvc`, a training would otherwise run for hours, keep the next one from its
    saved state, and leave a result that DVC does not know.
    """
    dvc = _starter()
    while _starter() == dvc:
        time.sleep(_CHECK_SECONDS)
    if not _interrupted.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _starter() -> int | None:
    """Return the id of the process that started this stage, None if there is none.

    A shell stands between them. bash replaces itself by the command; the sh of Debian stays, and
    outlives `dvc`.
    """
    try:
        parent = psutil.Process(os.getppid())
        is_shell = parent.cmdline()[-2:-1] == ["-c"] and "stages." in parent.cmdline()[-1]
        return parent.ppid() if is_shell else parent.pid
    except psutil.Error:
        return None
