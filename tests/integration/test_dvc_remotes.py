"""A team's remotes: S3 and SSH, each with a real server on this machine."""

import getpass
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.browser import answers, free_port, wait_for
from tests.support.dvc_commands import clone, documented, identify, run_all, wait_until
from tests.support.params import SMALL
from tests.support.project import Project

Serve = Callable[[Project, Path], AbstractContextManager[dict[str, str]]]
SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")


@contextmanager
def s3(_project: Project, folder: Path) -> Iterator[dict[str, str]]:
    """Serve a bucket; give what the page's commands for S3 need."""
    if not (find_spec("moto") and find_spec("dvc_s3")):
        pytest.skip("no S3 here: the packages moto and dvc-s3 have it")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with _server(command, folder / "moto.log"):
        wait_for(f"{url}/moto-api/")
        bucket = urllib.request.Request(f"{url}/poems", method="PUT")  # noqa: S310
        urllib.request.urlopen(bucket, timeout=60).close()  # noqa: S310
        yield {"BUCKET": "poems", "https://minio.example.org": url, "KEY": "a", "SECRET": "b"}


@contextmanager
def ssh(project: Project, folder: Path) -> Iterator[dict[str, str]]:
    """Serve SSH; give what the page's commands for it need."""
    if not (SSHD and shutil.which("ssh-keygen") and find_spec("dvc_ssh")):
        pytest.skip("no SSH here: Debian's openssh-server and the package dvc-ssh have it")
    port = free_port()
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    for name in ("host", "client"):
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(generate, check=True)
    key = (folder / "host.pub").read_text()
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
    project.environment["HOME"] = str(home)
    if os.getuid() == 0:  # sshd wants this folder
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'client.pub'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    command = [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
    with _server(command, folder / "sshd.log"):
        wait_until(lambda: answers("127.0.0.1", port), seconds=60)
        place = f"{getpass.getuser()}@127.0.0.1:{port}{folder / 'kept'}"
        yield {"USER@HOST:PORT/FOLDER": place, "KEYFILE": str(folder / "client")}


@contextmanager
def _server(command: list[str], log: Path) -> Iterator[None]:
    with (
        open(log, "wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.parametrize(("serve", "heading"), [(s3, "on S3"), (ssh, "behind SSH")])
def test_a_team_shares_results(prepared: Path, tmp_path: Path, serve: Serve, heading: str) -> None:
    """One trains and pushes, another pulls, and a third runs what is missing: nothing."""
    project = Project.at(shutil.copytree(prepared, tmp_path / "project")).fork()
    identify(project)
    [commit, push, pull, repro] = documented("Share results")
    with serve(project, tmp_path) as names:
        run_all(project, documented(f"A remote {heading}"), **names)
        run_all(project, [commit])
        project.set(pretrain=SMALL["pretrain"] | {"lr": 0.02})
        assert project.repro() == ["pretrain", "evaluate", "report"]
        project.commit("a result")
        run_all(project, [push])
        expected = _model(project)

        other = clone(project, tmp_path / "other")
        _copy_secrets(project, other)
        run_all(other, [pull])
        assert _model(other) == expected
        assert (other.folder / "report/index.html").is_file()

        third = clone(project, tmp_path / "third")
        _copy_secrets(project, third)
        assert "Data and pipelines are up to date." in run_all(third, [repro])
        assert _model(third) == expected


def _model(project: Project) -> bytes:
    return (project.folder / "models/poet/model.safetensors").read_bytes()


def _copy_secrets(project: Project, other: Project) -> None:
    """Give a clone the keys, which each person of a team sets alone."""
    shutil.copy(project.folder / ".dvc/config.local", other.folder / ".dvc")
