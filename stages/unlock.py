"""Remove a lock file of DVC that kill -9 has left half-written; `make` does so before `dvc repro`.

DVC writes it in place, many times a run, and refuses to work for ever if it cannot read it.
"""

import json
import time
from pathlib import Path

from stages.stage import run

LOCKS = Path(".dvc/tmp/rwlock")
_PATIENCE = 1.0
"""Seconds for which it must stay unreadable: a living DVC may be in the middle of writing it."""


def main() -> None:
    end = time.monotonic() + _PATIENCE
    while not _readable(LOCKS):
        if time.monotonic() > end:
            LOCKS.unlink(missing_ok=True)
            print(f"unlock: {LOCKS} was cut off by the end of a process; removed")
            return
        time.sleep(0.1)


def _readable(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    run(main)
