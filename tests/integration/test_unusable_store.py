"""A store that cannot be used is one sentence, with the command that helps."""

import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic import command
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base

from stages.tracking import store
from stages.tracking.errors import StoreError, store_errors
from stages.tracking.store import connect

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow is not free of warnings

BEFORE_3_17 = "b7e2c1a4d9f3"
"""The last schema of MLflow 3.16."""
HOLD = {
    "store open": "import sqlite3; kept = sqlite3.connect('mlflow.db'); "
    "kept.execute('SELECT * FROM alembic_version').fetchone()",
    "store locked": "import sqlite3; kept = sqlite3.connect('mlflow.db'); "
    "kept.execute('BEGIN EXCLUSIVE')",
    "lock": "from filelock import FileLock; kept = FileLock('.mlflow.lock'); kept.acquire()",
}
"""Ways in which another process holds a store."""


def problem() -> str:
    """Connect, and return the sentence that says why that fails."""
    with pytest.raises(StoreError) as error, store_errors():
        connect()
    text = str(error.value)
    assert "\n" not in text
    return text


@contextmanager
def other_process(script: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script in another process, which then waits."""
    code = f"{script}; print('done', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "done\n"
        try:
            yield process
        finally:
            process.kill()


def damage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def cut(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 3)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


def be_older(path: Path) -> None:
    execute(path, "UPDATE alembic_version SET version_num = 'b7e2c1a4d9f3'")


def be_older_and_lack_a_table(path: Path) -> None:
    be_older(path)
    execute(path, "DROP TABLE logged_models")


def be_newer(path: Path) -> None:
    execute(path, "UPDATE alembic_version SET version_num = 'abc'")


def be_another_database(path: Path) -> None:
    path.unlink()
    execute(path, "CREATE TABLE poems (text TEXT)")


@pytest.mark.parametrize(
    ("spoil", "reason", "remedy"),
    [
        (damage, "file is not a database", "; run `mv mlflow.db mlflow.db.bad` and then again: "),
        (cut, "malformed", "; run `mv mlflow.db mlflow.db.bad` and then again: "),
        (be_another_database, "no such table", "; run `mv mlflow.db mlflow.db.bad` and then"),
        (replace_by_a_folder, "unable to open", ""),
        (be_older, "b7e2c1a4d9f3 is older", "; run `cp mlflow.db mlflow.db.bak && mlflow db up"),
        (be_older_and_lack_a_table, "is older than this MLflow's", "; run `cp mlflow.db mlflow.d"),
        (be_newer, "its schema abc is newer than", "; run `pip install --upgrade mlflow`"),
    ],
)
def test_a_store_that_cannot_be_used(
    at: Any, tmp_path: Path, spoil: Any, reason: str, remedy: str
) -> None:
    path = at(tmp_path) / "mlflow.db"
    spoil(path)
    before = None if path.is_dir() else path.read_bytes()
    text = problem()
    assert text.startswith("MLflow cannot use mlflow.db (")
    assert reason in text
    assert remedy in text
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("writer", [None, "store open"])
def test_an_older_store_is_upgraded_by_the_command_that_is_named(
    at: Any, tmp_path: Path, writer: str | None
) -> None:
    """An upgrade wants the store for itself, so the command ends those that have it open."""
    path = at(tmp_path) / "mlflow.db"
    path.unlink()
    engine = sqlalchemy.create_engine("sqlite:///mlflow.db")
    Base.metadata.create_all(engine)
    config = _get_alembic_config("sqlite:///mlflow.db")  # type: ignore[no-untyped-call]
    command.upgrade(config, BEFORE_3_17)
    engine.dispose()
    if not writer:
        text = problem()
    else:
        with other_process(HOLD[writer]) as process:
            text = problem()
            assert f"; end process {process.pid} ({sys.executable} -c import sqlite3; " in text
            assert f" by `kill {process.pid}`, then run `cp" in text
    environment = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    for each in re.findall("`(.*?)`", text)[-1:]:
        subprocess.run(["bash", "-c", f"{environment}; {each}"], check=True)
    assert (tmp_path / "mlflow.db.bak").is_file()
    with store_errors():
        assert connect()


def test_a_schema_that_a_server_refuses_names_no_password(
    at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@h/d")
    said = f"Detected out-of-date database schema (found version {BEFORE_3_17}, but expected x)."
    with pytest.raises(StoreError) as error, store_errors():
        raise MlflowException(said)
    assert str(error.value) == (
        f"MLflow cannot use postgresql://***@h/d (its schema {BEFORE_3_17} is older than this "
        'MLflow\'s); run `mlflow db upgrade "$MLFLOW_TRACKING_URI"`'
    )


@pytest.mark.parametrize("how", ["store locked", "lock"])
def test_a_store_that_another_process_holds(
    at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    at(tmp_path)
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0.1))
    monkeypatch.setattr(store, "_PATIENCE", 0.1)
    with other_process(HOLD[how]) as process:
        text = problem()
        assert f"; wait for process {process.pid} ({sys.executable} -c " in text
        assert text.endswith(f"), or end it by `kill {process.pid}`, and run again")
        subprocess.run(["kill", str(process.pid)], check=True)
        process.wait()
    with store_errors():
        assert connect()


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("http://me:secret@127.0.0.1:9", r"at http://\*\*\*@127.0.0.1:9 does not answer"),
        ("file:./x", r"cannot use file:./x \(The filesystem tracking backend"),
        ("./x", r"cannot use ./x \(The filesystem tracking backend"),
        ("nothing://x", "cannot use nothing://x"),
        ("http://[x", r"at http://\[x does not answer \(Invalid IPv6 URL\)"),
        ("mysql://me:secret@h/d", r"cannot use mysql://\*\*\*@h/d \(No module named"),
    ],
)
def test_an_address_that_cannot_be_used(
    at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, problem: str
) -> None:
    at(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreError, match=problem) as error, store_errors():
        connect()
    assert "unset MLFLOW_TRACKING_URI" in str(error.value)
    assert "secret" not in str(error.value)
    assert not (tmp_path / "x").exists()
