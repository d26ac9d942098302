"""Errors of MLflow's store, each as one sentence with what helps."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import psutil
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import Timeout
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from nanopoet.common.errors import NanopoetError

SQLITE = "sqlite:///"
_ERRORS = (MlflowException, RequestException, SQLAlchemyError, sqlite3.Error, CommandError)
_LOCKED = "is locked|file lock"
_OLDER, _NEWER = "older than this MLflow", "newer than this MLflow"
_REMEDIES = {
    r"^(?!\w+:).*(not a database|malformed|no such table)": "run `mv {file} {file}.bad` and then "
    "again: MLflow makes a new one",
    _LOCKED: "wait for {holders}, or end it{kill}, and run again",
    _OLDER: "{end_holders}run `{copy}mlflow db upgrade {uri}`",
    f"{_NEWER}|revision": "run `pip install --upgrade mlflow`",
    r"^\w+:|filesystem": "make it answer, or run `unset MLFLOW_TRACKING_URI` to use mlflow.db",
}
"""Pattern of an address and its error → what helps."""


class StoreError(NanopoetError):
    """MLflow's store cannot be reached or refuses something."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the errors of MLflow, its HTTP client and its database into `StoreError`."""
    try:
        yield
    except (*_ERRORS, OSError, ImportError) as error:
        address = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
        file = address.removeprefix(SQLITE)
        problem = f"at {file} does not answer" if file.startswith("http") else f"cannot use {file}"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if found := re.search(r"schema \(found version (\w+)", reason):  # as MLflow says it
            reason = _compare(found[1])
        held = error.lock_file if isinstance(error, Timeout) else file
        remedy = _remedy(file, reason, Path(held))
        reason = reason if len(reason) <= 160 else f"{reason[:157]}..."
        text = without_password(f"MLflow {problem} ({reason}){remedy}")
        raise StoreError(text) from error


def without_password(text: str, instead: str = "***@") -> str:
    """Replace user and password of the addresses in a text.

    >>> without_password("http://me:secret@host/x")
    'http://***@host/x'
    """
    return re.sub("//[^/@ ]*@", f"//{instead}", text)


def check_schema(database: sqlite3.Connection) -> None:
    """Refuse a store of another version of MLflow.

    MLflow itself would upgrade one that lacks a table, without a copy and while others write to it.

    Raises:
        MlflowException: the schema is older or newer than MLflow's.
    """
    [revision] = database.execute("SELECT version_num FROM alembic_version").fetchone() or [""]
    if revision != _schemas().get_current_head():
        raise MlflowException(_compare(revision))


def _compare(revision: str) -> str:
    """Say that a schema is older than MLflow's, or newer if MLflow does not know it."""
    known = {each.revision for each in _schemas().walk_revisions()}
    return f"its schema {revision} is {_OLDER if revision in known else _NEWER}'s"


def _schemas() -> ScriptDirectory:
    return ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))


def _remedy(file: str, reason: str, held: Path) -> str:
    """Return what helps against an error, with a semicolon before it; empty if nothing is known."""
    found = (help_ for part, help_ in _REMEDIES.items() if re.search(part, f"{file}: {reason}"))
    if not (remedy := next(found, "")):
        return ""
    holders = _holders(held) if re.search(f"{_LOCKED}|{_OLDER}", reason) else {}
    names = " and ".join(f"process {pid} ({name})" for pid, name in holders.items())
    kill = f" by `kill {' '.join(map(str, holders))}`" if holders else ""
    is_file = "://" not in file
    values = {
        "file": file,
        "uri": f"{SQLITE}{file}" if is_file else '"$MLFLOW_TRACKING_URI"',
        "copy": f"cp {file} {file}.bak && " if is_file else "",
        "holders": names or "the process that holds it",
        "kill": kill,
        "end_holders": f"end {names}{kill}, then " if holders else "",
    }
    return f"; {remedy.format(**values)}"


def _holders(path: Path) -> dict[int, str]:
    """Return pid → command of other processes that have a file open, as far as one may look."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            files = {each.path for each in process.open_files()}
            if process.pid != os.getpid() and str(path.resolve()) in files:
                found[process.pid] = " ".join(process.cmdline())[:60]
    return found
