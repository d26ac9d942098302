"""The stages of the pipeline: one small script each, run from the root of the repository."""

import gc
import os
import signal
import sys
import tempfile

# MLflow asks for the home folder when it is imported, and a user without an entry in the password
# file may have none.
if os.path.expanduser("~") == "~":  # noqa: PTH111 - Path.home() raises
    os.environ["HOME"] = tempfile.gettempdir()

# `python -m stages.x` imports this file first. The stage itself then imports for seconds.
if sys.argv[:1] == ["-m"]:
    # Searching a million new objects for garbage would take a fifth of that time. `run` turns the
    # collector on again.
    gc.disable()
    # Ctrl-C during an import would end in a traceback. There is nothing to clean up yet, so the
    # signal may simply end the process.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # torch's C++ reports a lost connection with a page of addresses; our errors take one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
