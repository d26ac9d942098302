"""Remove files of DVC that kill -9 has left half-written; `make repro` runs this first.

DVC writes these files in place, and refuses to work while it cannot read one. It restores the
content of dvc.lock from its run cache.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanopoet.common.yaml import parse_yaml
from stages.runner import run

_READERS: dict[str, Callable[[str], Any]] = {
    ".dvc/tmp/rwlock": json.loads,
    "dvc.lock": lambda text: parse_yaml(text, "dvc.lock"),
}
"""File → function that parses its text."""

_PATIENCE = 1.0
"""Seconds for which a file must stay unreadable: a running DVC may be writing it."""


def main() -> None:
    """Remove each file that stays unreadable, and print its name."""
    for name, read in _READERS.items():
        path, end = Path(name), time.monotonic() + _PATIENCE
        while not _whole(path, read):
            if time.monotonic() > end:
                path.unlink(missing_ok=True)
                print(f"repair_dvc: {path} was cut off by the end of a process; removed")
                break
            time.sleep(0.1)


def _whole(path: Path, read: Callable[[str], Any]) -> bool:
    """Tell whether a file is missing or holds a mapping."""
    try:
        return isinstance(read(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return True
    except ValueError:
        return False


if __name__ == "__main__":
    run(main)
