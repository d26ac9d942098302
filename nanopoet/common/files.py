"""Outputs that are either whole or not there."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import psutil

from nanopoet.common.errors import FileError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the name `path` only when all is written.

    The bytes go to a temporary name in the same folder, reach the disk, and are
    renamed over `path`. If the block raises, `path` stays as it was and the
    temporary file is removed. What a killed process left goes with the next write.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    prefix, suffix = f".{path.name}.", ".partial"
    for other in path.parent.iterdir():
        writer = other.name.removeprefix(prefix).removesuffix(suffix)
        if f"{prefix}{writer}{suffix}" != other.name or not writer.isdecimal():
            continue
        if not psutil.pid_exists(int(writer)):
            other.unlink(missing_ok=True)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read an object that `write_json` wrote.

    Raises:
        FileError: the file is missing or damaged.
    """
    try:
        value = orjson.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise FileError(path, "damaged")
    return value


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON with a newline at the end."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
