"""The service behind the page that `nanopoet serve` opens."""

import json
import re
import select
import socket
import struct
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
from nanopoet.app.web import MOST_CANDIDATES
from nanopoet.app.writer import Writer
from nanopoet.prosody.annotate import mark
from tests.support.models import tiny_model
from tests.support.web import LONG, POEM, Scripted, ask, served

pytestmark = pytest.mark.process


def test_a_poem_comes_character_by_character_and_then_marked() -> None:
    with served(Scripted(POEM, LONG)) as address:
        status, events = ask(address, {"prompt": "白日", "count": 2})
    assert status == 200
    first = events[: len(POEM) + 1]
    assert "".join(event["text"] for event in first[:-1]) == POEM
    assert [event["mark"] for event in first[:6]] == ["●", "●", "○", "○", "●", "?"]
    assert first[-1] == {
        "event": "poem",
        "text": POEM,
        "form": "五绝",
        "rhyme": True,
        "regulated": True,
        "lines": mark(POEM),
    }
    assert events[-1]["event"] == "poem"
    assert events[-1]["text"] == "白日" + LONG
    assert events[-1]["form"] is None


def test_a_real_model_writes_as_its_seed_says() -> None:
    wish = {"prompt": "春", "count": 2, "seed": 3, "top_k": 9, "max_new_tokens": 12}
    with served(Writer(*tiny_model())) as address:
        first, again, other = (ask(address, wish | {"seed": seed}) for seed in (3, 3, 4))
    assert first == again != other
    poems = [event["text"] for event in first[1] if event["event"] == "poem"]
    assert len(poems) == 2
    assert all(poem.startswith("春") and 1 < len(poem) <= 13 for poem in poems)


def test_candidates_are_tried_until_one_has_the_form() -> None:
    writer = Scripted(LONG, POEM[:12], POEM + POEM[:12], POEM, LONG)
    with served(writer) as address:
        _, events = ask(address, {"form": "五绝"})
    assert events[-1]["text"] == POEM
    assert {event["number"] for event in events[:-1]} == {1, 2, 3, 4}
    # The first is given up at its sixth character, the third at its fifth line.
    assert writer.written == 6 + 12 + 25 + 24


def test_if_no_candidate_has_the_form_it_says_so() -> None:
    with served(Scripted(POEM)) as address:
        status, events = ask(address, {"form": "七律", "count": 2})
    assert status == 200
    assert events.count({"event": "none", "candidates": MOST_CANDIDATES}) == 2
    assert {event["event"] for event in events} == {"candidate", "none"}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        ([], 400, "the body must be an object of nothing but max_new_tokens, temperature"),
        ({"temprature": 1}, 400, "'temprature' is unknown: known are max_new_tokens, temp"),
        ({"prompt": 1}, 400, "prompt = 1 is not allowed: a text of at most 1000 characters"),
        ({"prompt": "山" * 1001}, 400, "a prompt of 1001 characters is not allowed: at most 1000"),
        (b'{"prompt": "\\ud800"}', 400, "the body is not JSON"),
        ({"form": "十四行"}, 400, "form = '十四行' is not allowed: null, 五绝, 七绝, 五律, 七律"),
        ({"form": ["五绝"]}, 400, "form = ['五绝'] is not allowed"),
        ({"form": "五绝", "prompt": "白日依山盡黃"}, 400, "no 五绝 begins with '白日依山盡黃'"),
        ({"count": 11}, 400, "count = 11 is not allowed: 1 to 10 (poems to write)"),
        ({"count": 1.5}, 400, "count = 1.5 is not allowed: it must be a whole number, 1 to"),
        ({"count": True}, 400, "count = True is not allowed"),
        ({"top_p": 0}, 400, "top_p = 0 is not allowed: 1e-06 to 1"),
        ({"temperature": "0.8"}, 400, "temperature = '0.8' is not allowed: it must be a number, 0"),
        ({"w" * 9000: 1}, 400, "www' is unknown: known are max_new_tokens"),
        ({"form": "十\n" * 900}, 400, " is not allowed: null, 五绝"),
        (b'{"temperature": 1e400}', 400, "temperature = inf is not allowed: 0 to 10"),
        (b'{"seed": 1%s}' % (b"0" * 5000), 400, "the body is not JSON: number out of range"),
        ({"top_k": None}, 400, "top_k = None is not allowed: it must be a whole number, 0 to"),
        ({"temperature": "warm" * 1000}, 400, "it must be a number, 0 to 10"),
        (b'{"temperature": NaN}', 400, "temperature = nan is not allowed: 0 to 10"),
        ({"seed": -1}, 400, "seed = -1 is not allowed: 0 to 4294967295"),
        ({"prompt": " " * 20_000}, 413, "the body must have at most 16384 bytes"),
    ],
)
def test_what_is_not_allowed_gets_one_sentence(
    page_address: str, body: Any, status: int, message: str
) -> None:
    answer = ask(page_address, body)
    assert answer[0] == status
    error = answer[1][0]["error"]
    assert message in error
    assert "\n" not in error
    assert len(error) < 200


@pytest.fixture(scope="module")
def page_address() -> Iterator[str]:
    with served(Scripted(POEM)) as address:
        yield address


def test_other_pages_cannot_ask(page_address: str) -> None:
    status, [answer] = ask(page_address, {}, **{"Content-Type": "text/plain"})
    assert (status, answer) == (415, {"error": "the body must be application/json"})
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        urllib.request.urlopen(  # noqa: S310
            urllib.request.Request(page_address, headers={"Host": "poems.example"})  # noqa: S310
        )
    refused.value.close()


def test_the_page_may_run_its_own_script_and_nothing_else(page_address: str) -> None:
    with urllib.request.urlopen(page_address) as answer:  # noqa: S310
        page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(
        r"""\son\w+\s*=|\sstyle=|(?:src|href)=["'](?!data:,)|@import|url\(""", page
    )


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
        with urllib.request.urlopen(address, timeout=10) as page:  # noqa: S310
            assert page.status == 200  # while all of them wait
        assert writer.begun <= 1  # one poem at a time
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
    with served(Scripted(POEM), host) as address:
        assert urllib.parse.urlsplit(address).hostname in {"127.0.0.1", "::1"}
        assert _status(address, "any.example") == 200
    assert "can use the page" in capsys.readouterr().err


def _status(address: str, name: str) -> int:
    request = urllib.request.Request(address, headers={"Host": name})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            assert "--allow-host NAME" in json.loads(error.read())["error"]
            return error.code


def test_when_the_reader_leaves_the_writing_stops() -> None:
    writer = Scripted(POEM * 10_000)
    with served(writer) as address:
        for _ in range(MOST_REQUESTS + 1):  # none of them keeps its place
            with posting(address, b"{}") as connection:
                assert connection.recv(12) == b"HTTP/1.1 200"
                wait_until(lambda: writer.written > 20)
                begun = writer.begun
            writer.written = 0
            wait_until(lambda: _stands_still(writer))
        assert begun == MOST_REQUESTS + 1
        writer.poems = [POEM]
        assert ask(address, {})[1][-1]["text"] == POEM


def _stands_still(writer: Scripted) -> bool:
    before = writer.written
    time.sleep(0.2)
    return writer.written == before
