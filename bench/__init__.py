"""Comparisons of speed and results that anyone can rerun: `make bench`."""

import io
import sys

if sys.argv[:1] == ["-m"] and isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(encoding="utf-8")  # tables have characters that a locale may lack
