"""Who reaches the page of `nanopoet serve`, how many at once, and for how long."""

import json
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest
from starlette.types import Message

from nanopoet.app.access import MOST_REQUESTS, BoundedStream
from tests.support.project import ROOT
from tests.support.web import POEM, Scripted, ask, served

pytestmark = pytest.mark.process


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_more_requests_than_it_can_take_are_turned_away() -> None:
    writer = Scripted(POEM)
    writer.may_go_on.clear()
    answers: list[tuple[int, list[dict[str, Any]]]] = []
    with served(writer) as address:
        threads = [
            threading.Thread(target=lambda: answers.append(ask(address, {})))
            for _ in range(MOST_REQUESTS + 1)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answers) == 1)
        assert answers[0][0] == 503
        assert answers[0][1][0]["error"].endswith("try again in a minute")
        assert answers[0][1][0]["error_zh"].endswith("请过一分钟再试")
        with urllib.request.urlopen(address, timeout=10) as page:  # noqa: S310
            assert page.status == 200  # while all of them wait
        writer.may_go_on.set()
        for thread in threads:
            thread.join()
        assert [status for status, _ in answers[1:]] == [200] * MOST_REQUESTS
        assert ask(address, {})[0] == 200


@contextmanager
def posting(address: str, body: bytes, length: int | None = None) -> Iterator[socket.socket]:
    """Send a request for poems whose body should have `length` bytes, by default all of `body`."""
    where = urllib.parse.urlsplit(address)
    with socket.create_connection((where.hostname or "", where.port or 0)) as connection:
        connection.sendall(
            b"POST /poems HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (length or len(body), body)
        )
        yield connection


def _drip(connection: socket.socket) -> None:
    """Send a byte now and then until the connection ends."""
    with suppress(OSError):
        while not select.select([connection], [], [], 0.05)[0]:
            connection.sendall(b" ")


@pytest.mark.parametrize("drips", [False, True])
def test_an_upload_that_never_ends_keeps_no_place(
    drips: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nanopoet.app.access.PATIENCE", 0.5)
    with served(Scripted(POEM)) as address, ExitStack() as stack:
        uploads = [
            stack.enter_context(posting(address, b"{", 100)) for _ in range(MOST_REQUESTS + 1)
        ]
        assert ask(address, {})[0] == 200
        for upload in uploads:
            if drips:
                _drip(upload)
            upload.settimeout(10)
            answer = b"".join(iter(partial(upload.recv, 4096), b""))  # to the end
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"must arrive within 0.5 seconds" in answer
    assert capfd.readouterr().err == ""


def test_a_reader_that_takes_nothing_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers hold some hundred kB, so the other side of the connection is a function here."""
    monkeypatch.setattr("nanopoet.app.access.PATIENCE", 0.1)
    places, turn = anyio.CapacityLimiter(1), anyio.Lock()
    sent: list[Message] = []

    async def parts() -> AsyncGenerator[bytes]:
        async with turn:
            while True:
                yield POEM.encode()

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 5:
            await anyio.sleep_forever()

    async def answer() -> None:
        with anyio.fail_after(10):
            await BoundedStream(parts(), places, "text/plain")({"type": "http"}, receive, send)

    anyio.run(answer)
    assert len(sent) == 5
    assert not places.borrowed_tokens
    assert not turn.locked()


def test_an_aborted_request_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    writer = Scripted(POEM * 10_000)
    linger = struct.pack("ii", 1, 0)  # ends with a reset instead of a farewell
    with served(writer) as address:
        for reset in (False, True):
            for body, length in ((b"", 100), (b"{", 100), (b"{}", None)):
                with posting(address, body, length) as connection:
                    if length is None:
                        assert connection.recv(12) == b"HTTP/1.1 200"
                    if reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        wait_until(lambda: _stands_still(writer))
        writer.poems = [POEM]
        assert ask(address, {})[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.2", "127.1", "localhost", "LOCALHOST", "::1", "0:0::1"]
)
def test_the_address_that_is_shown_answers_and_others_do_not(host: str) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("no IPv6 here")
    with served(Scripted(POEM), host, "poems.example") as address:
        port = urllib.parse.urlsplit(address).port
        for name in (address.split("/")[2], f"127.0.0.1:{port}", f"localhost:{port}"):
            assert _status(address, name) == 200
        assert _status(address, "Poems.example") == _status(address, "poems.example:443") == 200
        for name in ("poems.example.evil", "evil.example", "[::", ""):
            assert _status(address, name) == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::"])  # noqa: S104
def test_an_address_of_all_interfaces_is_shown_as_one_that_answers(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("no IPv6 here")
    with served(Scripted(POEM), host) as address:
        assert urllib.parse.urlsplit(address).hostname in {"127.0.0.1", "::1"}
        assert _status(address, "any.example") == 200
    assert "can use the page" in capsys.readouterr().err


def _has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def _status(address: str, name: str) -> int:
    request = urllib.request.Request(address, headers={"Host": name})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            assert "--allow-host NAME" in json.loads(error.read())["error"]
            return error.code


def test_when_the_reader_leaves_the_writing_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanopoet.app.web.MOST_REQUESTS", 3)
    writer = Scripted(POEM * 10_000)
    with served(writer) as address:
        for _ in range(4):  # none of them keeps its place
            with posting(address, b"{}") as connection:
                assert connection.recv(12) == b"HTTP/1.1 200"
                wait_until(lambda: writer.written > 20)
                begun = writer.begun
            writer.written = 0
            wait_until(lambda: _stands_still(writer))
        assert begun == 4
        writer.poems = [POEM]
        assert ask(address, {})[1][-1]["text"] == POEM


def _stands_still(writer: Scripted) -> bool:
    before = writer.written
    time.sleep(0.2)
    return writer.written == before


def test_ctrl_c_in_the_middle_of_a_poem_ends_it_quietly() -> None:
    script = "writer = Scripted(POEM * 10_000); serve(writer, '127.0.0.1', 0, ())"
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from nanopoet.app.web import serve; from tests.support.web import *; {script}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout
        address = process.stdout.readline().split()[1]
        with posting(address, b"{}") as connection:
            assert connection.recv(12) == b"HTTP/1.1 200"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
