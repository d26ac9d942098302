"""Make sure that DVC can work here; `make repro` and `make run` run this before DVC.

Files of DVC that kill -9 has left half-written are removed. DVC writes them in place, and refuses
to work while it cannot read one. It restores the content of dvc.lock from its run cache. A file
with a merge conflict stays. Copies that DVC has left beside an out, as on a full disk, are removed.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import check_merged
from nanopoet.common.yaml import parse_yaml
from stages.runner import run

_READERS: dict[str, Callable[[str], Any]] = {
    ".dvc/tmp/rwlock": json.loads,
    "dvc.lock": lambda text: _parse_lock(text),
}
"""File → function that parses its text."""

_MERGED = (".dvc/config", "?*.dvc", "*.yaml", "dvc.lock", "metrics/*.json")
"""Files of which git may mark a conflict; DVC brings the last two up to date."""

_COPY = re.compile(r"\.[\w-]{22}\.tmp")
"""Name of a copy that DVC makes before it puts it into place."""

_PATIENCE = 1.0
"""Seconds for which a file must stay unreadable, or a copy the same: DVC may be writing it."""


def main() -> None:
    """Remove each file that stays unreadable, and print its name.

    Raises:
        NanopoetError: there is no git repository, or a file has to be merged.
    """
    _check_git()
    for pattern in _MERGED:
        for path in sorted(Path().glob(pattern)):
            check_merged(path, path.read_text(encoding="utf-8", errors="replace"))
    for name, read in _READERS.items():
        path, end = Path(name), time.monotonic() + _PATIENCE
        while not _whole(path, read):
            if time.monotonic() > end:
                path.unlink(missing_ok=True)
                print(f"repair_dvc: {path} was cut off by the end of a process; removed")
                break
            time.sleep(0.1)
    for path in sorted(Path().glob("*/.*.tmp")):
        if _COPY.fullmatch(path.name) and _stays(path):
            path.unlink(missing_ok=True)
            print(f"repair_dvc: {path} is a copy that DVC did not finish; removed")


def _check_git() -> None:
    """Refuse a folder outside of git, unless DVC is told to do without."""
    here = Path.cwd()
    configs = (Path(".dvc") / name for name in ("config", "config.local"))
    texts = [
        path.read_text(encoding="utf-8", errors="replace") for path in configs if path.exists()
    ]
    if any(re.search(r"^\s*no_scm\s*=\s*true\b", text, re.M | re.I) for text in texts):
        return
    if not any((folder / ".git").exists() for folder in (here, *here.parents)):
        raise NanopoetError(f"{here} is in no git repository, and DVC needs one; run `git init`")


def _parse_lock(text: str) -> Any:
    """Parse dvc.lock, and refuse one that lacks parts, as one that was cut off."""
    lock = parse_yaml(text, "dvc.lock")
    try:
        COMPILED_LOCKFILE_SCHEMA(lock)
    except Invalid as error:
        raise ValueError(f"not as DVC writes it: {error}") from None
    return lock


def _stays(path: Path) -> bool:
    """Tell whether nobody has written to a file for `_PATIENCE` seconds."""
    modified = path.stat().st_mtime
    time.sleep(min(_PATIENCE, max(0.0, modified + _PATIENCE - time.time())))
    return path.exists() and path.stat().st_mtime == modified


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
