"""Comparisons of speed and results that anyone can rerun: `make bench`."""

import io
import sys
from argparse import ArgumentTypeError

if sys.argv[:1] == ["-m"] and isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(encoding="utf-8")  # tables have characters that a locale may lack


def count(text: str) -> int:
    """Read a number of poems from the command line."""
    if not (text.isdecimal() and int(text)):
        raise ArgumentTypeError(f"{text} is not allowed: 1 or more")
    return int(text)
