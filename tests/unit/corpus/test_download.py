"""Tests of the download with fake npm clients; the test with npm itself is marked `registry`."""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus import download
from nanopoet.corpus.download import fetch_archive, integrity_of, npm_command

CLIENT = """#!{python}
import pathlib, sys
arguments = sys.argv[1:]
folder = pathlib.Path(arguments[arguments.index("--pack-destination") + 1])
assert arguments[:2] == ["pack", "poems@1.0.0"], arguments
{body}
"""
SERVES = '(folder / "poems-1.0.0.tgz").write_bytes(b"the archive")'
FAILS = """print("npm error code ENOTFOUND", file=sys.stderr)
(folder / "half.tmp").write_bytes(b"half")
sys.exit(1)"""


@pytest.fixture
def integrity(tmp_path: Path) -> str:
    (tmp_path / "expected").write_bytes(b"the archive")
    return integrity_of(tmp_path / "expected")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "poems.tgz"


def _client(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    npm = folder / "bin" / "npm"
    npm.parent.mkdir(exist_ok=True)
    npm.write_text(CLIENT.format(python=sys.executable, body=body), encoding="utf-8")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")


def test_folders_that_npm_removes_meanwhile_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "c").mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(b"123")
    walk = os.walk

    def removing(folder: Path) -> Iterator[object]:
        for here, folders, names in walk(folder):
            yield here, folders, names
            shutil.rmtree(tmp_path / "b", ignore_errors=True)

    monkeypatch.setattr(os, "walk", removing)
    assert download._size(tmp_path) == 3


def test_integrity_is_in_the_notation_of_npm(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert integrity_of(tmp_path / "empty") == (
        "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+Sf"
        "aPg=="
    )


def test_the_archive_takes_its_name_when_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: Path, integrity: str
) -> None:
    _client(monkeypatch, tmp_path, SERVES)
    assert fetch_archive("poems", "1.0.0", integrity, target)
    assert target.read_bytes() == b"the archive"
    assert [file.name for file in target.parent.iterdir()] == ["poems.tgz"]


def test_a_verified_archive_is_not_downloaded_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: Path, integrity: str
) -> None:
    _client(monkeypatch, tmp_path, FAILS)
    target.parent.mkdir()
    target.write_bytes(b"the archive")
    assert not fetch_archive("poems", "1.0.0", integrity, target)


def test_a_damaged_archive_and_leftovers_are_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: Path, integrity: str
) -> None:
    _client(monkeypatch, tmp_path, SERVES)
    (target.parent / ".fetch-killed").mkdir(parents=True)
    target.write_bytes(b"the arch")
    assert fetch_archive("poems", "1.0.0", integrity, target)
    assert target.read_bytes() == b"the archive"
    assert [file.name for file in target.parent.iterdir()] == ["poems.tgz"]


def test_another_digest_is_refused_and_what_was_there_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: Path, integrity: str
) -> None:
    _client(monkeypatch, tmp_path, SERVES.replace("the archive", "another archive"))
    target.parent.mkdir()
    target.write_bytes(b"older")
    with pytest.raises(NanopoetError, match=r"fetch\.integrity = sha512-.* does not match"):
        fetch_archive("poems", "1.0.0", integrity, target)
    assert target.read_bytes() == b"older"
    assert [file.name for file in target.parent.iterdir()] == ["poems.tgz"]


def test_no_network_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: Path, integrity: str
) -> None:
    _client(monkeypatch, tmp_path, FAILS)
    with pytest.raises(NanopoetError) as caught:
        fetch_archive("poems", "1.0.0", integrity, target)
    assert str(caught.value).startswith("npm could not get poems@1.0.0: code ENOTFOUND; check")
    assert str(target) in str(caught.value)
    assert not list(target.parent.iterdir())


def test_without_npm_on_path_the_npm_of_the_package_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    assert npm_command()[0] == sys.executable


@pytest.mark.registry
def test_the_npm_of_the_package_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("nanopoet.corpus.download.shutil.which", lambda _: None)
    path = tmp_path / "small.tgz"
    integrity = (
        "sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYx"
        "xng=="
    )
    assert fetch_archive("is-number", "7.0.0", integrity, path)
    assert [file.name for file in tmp_path.iterdir()] == ["small.tgz"]
