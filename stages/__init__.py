"""The stages of the pipeline: one small script each, run from the root of the repository."""

import gc
import os
import signal
import sys

# `python -m stages.x` imports this first, then a stage for seconds what it needs.
if sys.argv[:1] == ["-m"]:
    # Searching a million new objects for garbage takes a fifth of that. `run` enables it.
    gc.disable()
    # Ctrl-C in the middle of an import would end in a traceback; nothing has begun that would
    # have to be undone.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Of a lost connection torch's C++ warns with a page of addresses; our errors say it in a line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
