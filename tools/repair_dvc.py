"""Remove files of DVC that kill -9 has left half-written; `make` does so before `dvc repro`.

DVC writes them in place, and refuses to work for ever if it cannot read them. What dvc.lock said
DVC finds again in its run cache.
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
_PATIENCE = 1.0
"""Seconds for which one must stay unreadable: a living DVC may be in the middle of writing it."""


def main() -> None:
    for name, read in _READERS.items():
        path, end = Path(name), time.monotonic() + _PATIENCE
        while not _whole(path, read):
            if time.monotonic() > end:
                path.unlink(missing_ok=True)
                print(f"mend: {path} was cut off by the end of a process; removed")
                break
            time.sleep(0.1)


def _whole(path: Path, read: Callable[[str], Any]) -> bool:
    """Whether a file is not there or holds a mapping."""
    try:
        return isinstance(read(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return True
    except ValueError:
        return False


if __name__ == "__main__":
    run(main)
