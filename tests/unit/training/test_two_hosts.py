"""Two hosts without a common folder train like one process."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nanopoet.training.history import read_history
from tests.support.distributed import TIMEOUT, parallel_project, wait_until
from tests.support.project import Project

pytestmark = pytest.mark.process


def _link_up(first: str, second: str, hosts: str) -> None:
    """Make two connected network namespaces, whose hosts know each other by name."""
    commands = [f"ip netns add {name}" for name in (first, second)]
    commands.append(f"ip link add eth0 netns {first} type veth peer name eth0 netns {second}")
    for number, name in enumerate((first, second), start=1):
        inside = f"ip -n {name}"
        commands.append(f"{inside} addr add 10.77.0.{number}/24 dev eth0")
        commands += [f"{inside} link set {device} up" for device in ("lo", "eth0")]
        folder = Path("/etc/netns") / name
        folder.mkdir(parents=True)
        (folder / "hosts").write_text(hosts)
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True)


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str]]:
    names = f"alpha{os.getpid()}", f"beta{os.getpid()}"
    hosts = "127.0.0.1 localhost\n"
    hosts += "".join(f"10.77.0.{number} {name}\n" for number, name in enumerate(names, start=1))
    with ExitStack() as stack:
        for name in names:
            command = ["ip", "netns", "delete", name]
            stack.callback(subprocess.run, command, check=False, capture_output=True)
            stack.callback(shutil.rmtree, Path("/etc/netns") / name, ignore_errors=True)
        try:
            _link_up(*names, hosts)
        except (FileNotFoundError, PermissionError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield names


def _start_on(host: str, project: Project, *command: str) -> "subprocess.Popen[str]":
    """Run `python -m <command>` on a host, in its own session."""
    inside = f'hostname {host}; exec "$@"'
    words = ["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", inside, "sh"]
    return subprocess.Popen(
        [*words, sys.executable, "-m", *command],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_two_hosts_train_as_one(tmp_path: Path, two_hosts: tuple[str, str]) -> None:
    """They share no folder. The host where DVC runs writes the files, whatever its rank."""
    first, second = two_hosts
    options = f"--nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint {first}:29400"
    mine = parallel_project(tmp_path / "mine", options, 400)
    shutil.copytree(mine.folder, tmp_path / "theirs", symlinks=True)
    theirs = Project.at(tmp_path / "theirs")
    alone = Project.at(Path(shutil.copytree(mine.folder, tmp_path / "alone", symlinks=True)))
    alone.set(pretrain={"torchrun": ""})
    alone.repro("pretrain")

    # DVC runs on the host with the second address, which is not rank 0 in torch.
    with _start_on(second, mine, "dvc", "repro", "pretrain") as dvc:
        with _start_on(first, theirs, "stages.pretrain") as other:
            wait_until(lambda: list(mine.folder.glob(".nanopoet/resume/*/step_*")))
            os.killpg(other.pid, signal.SIGKILL)
        printed, _ = dvc.communicate(timeout=TIMEOUT)
        assert dvc.returncode
    assert printed.count("error: ") == 1, printed
    lost = "another process of this training ended", "reaches the endpoint"  # whichever comes first
    assert any(error in printed for error in lost), printed
    assert "Traceback" not in printed

    with (
        _start_on(second, mine, "dvc", "repro", "pretrain") as dvc,
        _start_on(first, theirs, "stages.pretrain") as other,
    ):
        printed, _ = dvc.communicate(timeout=TIMEOUT)
        others, _ = other.communicate(timeout=TIMEOUT)
    assert (dvc.returncode, other.returncode) == (0, 0), printed + others
    assert "continues after step" in printed
    assert others == ""
    assert not (theirs.folder / "models/poet").exists()
    assert not (theirs.folder / ".nanopoet/resume").exists()
    wanted, found = (read_history(project.folder / "models/poet") for project in (alone, mine))
    assert [record.step for record in found] == [record.step for record in wanted]
    for one, other_one in zip(wanted, found, strict=True):
        assert other_one.loss_train == pytest.approx(one.loss_train, rel=1e-2)
