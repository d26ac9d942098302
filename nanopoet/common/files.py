"""Files that are written completely or not at all, JSON, and conflicts of a merge."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import psutil

from nanopoet.common.errors import FileError, NanopoetError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` when the block ends.

    The bytes go to a temporary file in the same folder, reach the disk, and the file is renamed to
    `path`. If the block raises, `path` stays as it was and the temporary file is removed. The next
    write removes temporary files of killed processes. If it cannot be made, the error names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        file = open(partial, "wb")  # noqa: SIM115
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files for `path` whose process no longer runs."""
    prefix, suffix = f".{path.name}.", ".partial"
    for other in path.parent.iterdir():
        writer = other.name.removeprefix(prefix).removesuffix(suffix)
        if f"{prefix}{writer}{suffix}" != other.name or not writer.isdecimal():
            continue
        if not psutil.pid_exists(int(writer)):
            other.unlink(missing_ok=True)


class _JsonObject(dict[str, Any]):
    """An object in a JSON file. A name that it lacks is an error of the file."""

    def __init__(self, path: str | Path, values: Mapping[str, Any]) -> None:
        super().__init__((name, _with_path(path, value)) for name, value in values.items())
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise FileError(self._path, f"has no `{name}`, which this version writes")


def _with_path(path: str | Path, value: Any) -> Any:
    if isinstance(value, list):
        return [_with_path(path, each) for each in value]
    return _JsonObject(path, value) if isinstance(value, dict) else value


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object. Asked for a name that is not there, it and those in it raise `FileError`.

    Raises:
        FileError: the file is missing or damaged.
        NanopoetError: the file is not merged.
    """
    try:
        raw = Path(path).read_bytes()
        value = orjson.loads(raw)
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    except ValueError:
        check_merged(path, raw.decode(errors="replace"))
        value = None
    if not isinstance(value, dict):
        raise FileError(path, "damaged")
    return _JsonObject(path, value)


def check_merged(path: str | Path, text: str) -> None:
    """Refuse the text of a file in which git has left a conflict for a person to merge.

    Raises:
        NanopoetError: the text has the markers of a conflict.
    """
    if found := re.search(r"^<{7}(?= |\r?$)", text, re.MULTILINE):
        line = text.count("\n", 0, found.start()) + 1
        raise NanopoetError(
            f"{path}:{line}: not merged: git has marked a conflict here; edit the file or keep one "
            f"side (`git checkout --ours {path}`), and run again"
        )


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented UTF-8 JSON with a newline at the end."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
