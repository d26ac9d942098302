"""The stages of the pipeline: one small script each, run from the root of the repository."""

import signal
import sys

# `python -m stages.x` imports this first, then a stage for seconds what it needs. Ctrl-C in
# the middle of an import would end in a traceback; nothing has begun that would have to be undone.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
