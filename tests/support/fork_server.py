"""A `python` whose processes need not import torch, MLflow and DVC.

A stage of a small test spends most of its time on imports. A server imports them once and forks a
process for each `python -m <module>`. Only packages from outside are imported before the fork: the
module comes from the folder in which the process runs.

Tests find the client of this server in place of `python`. It passes its arguments, environment and
open files to the server. It passes signals on, and ends as the forked process ends. Tests of
interruptions and of locales use the real `python`.
"""

import ast
import atexit
import gc
import importlib
import os
import random
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

PRELOADED = (
    "alembic.command",
    "dvc.cli.parser",
    "dvc.commands.repro",
    "dvc.data_cloud",
    "dvc.lock",
    "dvc.repo.reproduce",
    "dvc.repo.status",
    "filelock",
    "jinja2",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.system_metrics.system_metrics_monitor",
    "networkx",
    "opencc",
    "opentelemetry.sdk.trace.export",
    "pandas",
    "rapidfuzz",
    "ruamel.yaml",
    "safetensors.torch",
    "scmrepo.git",
    "sqlalchemy.dialects.sqlite",
    "torch._dynamo",
    "torch.distributed.run",
    "vl_convert",
)

CLIENT = """#!{python} -IS
import os, signal, socket, sys
if sys.argv[1:2] != ["-m"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: server.send(bytes([number])))
umask = os.umask(0)
request = repr((sys.argv[2:], os.getcwd(), dict(os.environ), umask)).encode()
socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
server.sendall(request)
status = int(server.recv(16) or -9)
if status >= 0:
    os._exit(status)
signal.signal(-status, signal.SIG_DFL) if status != -9 else None
os.kill(os.getpid(), -status)
"""


@cache
def folder_of_python(**environment: str) -> Path:
    """Start a server, unless it runs, and return the folder of its `python`.

    Args:
        environment: variables that Python reads when it starts, such as PYTHONHASHSEED. Each
            environment has a server of its own.

    Where the system is not Linux, it is the folder of the real `python`.
    """
    if not hasattr(os, "pidfd_open"):
        return Path(sys.executable).parent
    folder = Path(tempfile.mkdtemp(prefix="nanopoet-forks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = str(folder / "socket")
    client = folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
    client.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, address],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"} | environment,
        stdin=subprocess.PIPE,  # the server ends when this process closes it, even by dying
        start_new_session=True,
    )
    atexit.register(server.wait)
    assert server.stdin is not None
    atexit.register(server.stdin.close)
    while not Path(address).exists():
        assert server.poll() is None
        time.sleep(0.05)
    return folder


def serve(address: str) -> None:
    """Fork a process for each request; return in that process, when it is ready to run."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # a collection, as at exit, would copy the memory of all that is imported
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen()
    Path(f"{address}.new").rename(address)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in selector.select()):
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
            with suppress(ChildProcessError):  # none is left
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        else:
            os._exit(0)
    listener.close()
    _attend(connection)


def _attend(connection: socket.socket) -> None:
    """Fork the process of one request and wait for it; return in the forked process."""
    length, files, _, _ = socket.recv_fds(connection, 8, 3)
    request = b""
    while len(request) < int.from_bytes(length, "big"):
        if not (part := connection.recv(1 << 16)):
            os._exit(0)  # the client was killed
        request += part
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(files, *ast.literal_eval(request.decode()))
        return
    for file in [*files, 0, 1, 2]:
        os.close(file)
    ended = os.pidfd_open(pid)
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while all(key.fileobj is connection for key, _ in selector.select()):
            # A killed client closes the connection.
            for number in connection.recv(16) or [signal.SIGKILL]:
                os.kill(pid, number)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.send(str(status).encode())
    os._exit(0)


def _become(
    files: list[int], arguments: list[str], folder: str, environment: dict[str, str], umask: int
) -> None:
    """Take over what a new process has from its parent."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.umask(umask)
    random.seed()
    sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = arguments


def _run(module: str) -> None:
    """Run a module and end, without the half second that Python needs to forget all imports."""
    status = 1
    atexit.register(lambda: (sys.stdout.flush(), os._exit(status)))
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


if __name__ == "__main__":
    serve(sys.argv[1])
    _run(sys.argv[0])
