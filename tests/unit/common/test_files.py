"""Files are written completely or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanopoet.common.files import atomic_write, write_text


def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write_text(path, "before")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_next_write_removes_files_of_a_killed_process(tmp_path: Path) -> None:
    path, other = tmp_path / "out", tmp_path / f".other.{os.getpid()}.partial"
    script = f"""
import os, signal
from nanopoet.common.files import atomic_write
with atomic_write({str(path)!r}) as file:
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    [left] = tmp_path.iterdir()
    assert left.name.endswith(".partial")
    alive = tmp_path / f".out.{os.getppid()}.partial"  # of a process that still runs
    for kept in (alive, other):
        kept.touch()
    write_text(path, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, alive, other])


def test_what_cannot_be_written_is_named_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 250}.txt"  # with more around it, the name is too long
    with pytest.raises(OSError, match="File name too long") as caught:
        write_text(path, "a")
    assert caught.value.filename == str(path)
