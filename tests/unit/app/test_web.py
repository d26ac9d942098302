"""The page that `nanopoet serve` opens: what it answers, and in a real browser."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
from playwright.sync_api import Page

from nanopoet.app.web import MOST_CANDIDATES, MOST_REQUESTS, make_app
from nanopoet.app.writer import Writer
from nanopoet.models.sampling import Sampling
from nanopoet.prosody.annotate import mark
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support import browser
from tests.support.models import tiny_model

needs_chromium = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no Chromium here: Debian's package `chromium` has it"
)

POEM = "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"
LONG = "七言一句有七字，何況還須押韻時。莫道詩成人不寐，燈前猶有未歸期。"


class Scripted(Writer):
    """Writes given poems, one after the other, however they are asked for."""

    def __init__(self, *poems: str) -> None:
        super().__init__(*tiny_model())
        self.tokenizer = CharTokenizer.from_characters("".join(poems))
        self.poems = list(poems)
        self.begun = self.written = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def stream(
        self,
        prompt: str,
        sampling: Sampling,  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
    ) -> Iterator[str]:
        poem = self.poems[self.begun % len(self.poems)]
        self.begun += 1
        for character in poem.removeprefix(prompt):
            assert self.may_go_on.wait(30)
            self.written += 1
            yield character


@contextmanager
def served(writer: Writer) -> Iterator[str]:
    """The address of a page."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(make_app(writer, ["127.0.0.1"]), log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            browser.wait_for(address)
            yield address
        finally:
            server.should_exit = True
            thread.join()


def ask(address: str, body: Any, **headers: str) -> tuple[int, list[dict[str, Any]]]:
    """Status, and the lines of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310
        f"{address}poems", data, {"Content-Type": "application/json"} | headers
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, [json.loads(line) for line in answer]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, [json.loads(error.read())]


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
        ({"temprature": 1}, 400, "temprature is unknown: known are max_new_tokens, temperature"),
        ({"prompt": 1}, 400, "prompt = 1 is not allowed: a text of at most 1000 characters"),
        ({"prompt": "山" * 1001}, 400, "a prompt of 1001 characters is not allowed: at most 1000"),
        (b'{"prompt": "\\ud800"}', 400, "the body is not JSON"),
        ({"form": "十四行"}, 400, "form = 十四行 is not allowed: null, 五绝, 七绝, 五律, 七律"),
        ({"form": ["五绝"]}, 400, "form = ['五绝'] is not allowed"),
        ({"form": "五绝", "prompt": "白日依山盡黃"}, 400, "no 五绝 begins with 白日依山盡黃"),
        ({"count": 11}, 400, "count = 11 is not allowed: 1 to 10 (poems to write)"),
        ({"count": 1.5}, 400, "count = 1.5 is not allowed: it must be a whole number, 1 to"),
        ({"count": True}, 400, "count = True is not allowed"),
        ({"top_p": 0}, 400, "top_p = 0 is not allowed: 1e-06 to 1"),
        ({"temperature": "0.8"}, 400, "temperature = '0.8' is not allowed: it must be a number, 0"),
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


def test_when_the_reader_leaves_the_writing_stops() -> None:
    writer = Scripted(POEM * 10_000)
    with served(writer) as address:
        for _ in range(MOST_REQUESTS + 1):  # none of them keeps its place
            where = urllib.parse.urlsplit(address)
            with socket.create_connection((where.hostname or "", where.port or 0)) as connection:
                head = "POST /poems HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n"
                kind = "Content-Type: application/json\r\n\r\n{}"
                connection.sendall((head + kind).encode())
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


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    from nanopoet.models.checkpoint import save_model

    save_model(tmp_path / "poet", *tiny_model(), {})
    return tmp_path / "poet"


@contextmanager
def command(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`nanopoet serve` as a process, and the line that it prints."""
    with subprocess.Popen(
        [sys.executable, "-m", "nanopoet.app.cli", "serve", "--model", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline()
        finally:
            process.kill()


@needs_chromium
def test_the_command_serves_this_machine_until_ctrl_c(model_folder: Path) -> None:
    with command(model_folder, "--port", "0") as (process, line):
        found = re.fullmatch(r"open (http://127\.0\.0\.1:(\d+)/) and stop with Ctrl-C\n", line)
        assert found
        address, port = found[1], int(found[2])
        browser.wait_for(address)
        others = browser.other_addresses()
        assert not [host for host in others if browser.answers(host, port)]
        with browser.page() as (page, elsewhere):
            page.goto(address)
            page.get_by_label("How it begins").fill("春")
            page.get_by_role("button", name="Write").click()
            page.get_by_text("Done: 1, seed").wait_for()
            assert page.locator(".poem").inner_text().startswith("春")
        assert elsewhere == []
        with command(model_folder, "--port", str(port)) as (second, nothing):
            assert second.wait(60) == 1
            assert second.stderr
            assert nothing == ""
            assert second.stderr.read() == (
                f"error: nanopoet serve: 127.0.0.1: port {port} is taken: give another with "
                f"--port, or 0 for any that is free\n"
            )
        ask(address, {"max_new_tokens": 5})
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr
        assert process.stderr.read() == ""


@contextmanager
def opened(writer: Writer) -> Iterator[Page]:
    """The page in a browser, which must neither complain nor go elsewhere."""
    with served(writer) as address, browser.page() as (page, elsewhere):
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        yield page
        assert elsewhere == []
        assert complaints == []


@needs_chromium
def test_a_poem_streams_in_and_is_marked() -> None:
    writer = Scripted(POEM)
    writer.may_go_on.clear()
    with opened(writer) as page:
        page.get_by_label("How it begins").fill("白日依山盡，黃")
        page.get_by_role("button", name="Write").click()
        page.locator("article[aria-busy] p:nth-child(2)").wait_for()
        shown = [text.replace("\n", "") for text in page.locator("article p").all_inner_texts()]
        assert shown == ["白●日●依○山○盡●", "黃○"]
        writer.may_go_on.set()
        page.get_by_text("Done: 1").wait_for()
        assert page.locator("article[aria-busy]").count() == 0
        rhymes = page.locator("article ruby.rhyme:not(.broken)")
        assert [text[0] for text in rhymes.all_inner_texts()] == ["流", "樓"]
        assert rhymes.first.get_attribute("title") == "下平聲十一尤"
        told = page.locator("article > p").inner_text()
        assert told == "五绝 · rhymes · tones regular · 下平聲十一尤"
        spoken = page.locator("article .hidden").all_text_contents()
        assert spoken[0] == "（仄仄平平仄）"
        assert page.locator("article .poem").get_attribute("lang") == "zh-Hant"


@needs_chromium
def test_it_is_all_there_with_the_keyboard_alone() -> None:
    with opened(Scripted(LONG, POEM)) as page:
        seen = []
        for _ in range(10):
            page.keyboard.press("Tab")
            seen.append(
                page.evaluate("document.activeElement.innerText || document.activeElement.name")
            )
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
            if seen[-1] == "form":
                page.keyboard.press("ArrowRight")  # from any to 五绝
            if seen[-1] == "Sampling":
                break
        assert seen == ["English", "中文", "prompt", "form", "Sampling"]
        page.keyboard.press("Enter")
        for name in ("temperature", "top_p", "top_k", "count", "seed"):
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.name") == name
        page.keyboard.type("7")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("Done: 1, seed 7").wait_for()
        assert page.locator("article > p").inner_text().startswith("五绝")


@needs_chromium
def test_it_speaks_chinese() -> None:
    with opened(Scripted(POEM)) as page:
        page.get_by_role("button", name="中文").click()
        assert page.locator("html").get_attribute("lang") == "zh-Hans"
        page.get_by_label("开头").fill("白日")
        page.get_by_role("button", name="写诗").click()
        page.get_by_text("写完 1 首").wait_for()
        text = page.inner_text("body").replace("English", "").replace("nanopoet", "")
        assert "押韵 · 合律" in text
        assert set(re.findall("[A-Za-z-]{2,}", text)) <= {"temperature", "top-p", "top-k", "seed"}
        page.get_by_role("button", name="English").click()
        page.get_by_text("Done: 1").wait_for()
        assert "押韵" not in page.inner_text("body")


@needs_chromium
def test_it_says_what_went_wrong_and_takes_text_for_text() -> None:
    with opened(Scripted("<b id=x>&，", LONG)) as page:
        page.get_by_role("button", name="Write").click()
        page.get_by_text("Done: 1").wait_for()
        assert page.locator("#x").count() == 0
        assert page.locator("article ruby").first.inner_text().replace("\n", "") == "<?"
        page.get_by_label("五绝").check()
        page.get_by_role("button", name="Write").click()
        page.get_by_text("for 1 no 五绝 came").wait_for()
        page.get_by_text("Sampling").click()
        page.get_by_role("spinbutton", name="poems").fill("99")
        page.get_by_text("Sampling").click()
        page.get_by_role("button", name="Write").click()
        page.get_by_role("spinbutton", name="poems").wait_for()  # shown, as it is the one to mend
        assert page.evaluate("document.activeElement.name") == "count"


@needs_chromium
def test_a_refusal_is_shown() -> None:
    with served(Scripted(POEM)) as address, browser.page() as (page, _):
        page.goto(address)
        page.get_by_label("How it begins").fill("白日依山盡黃")
        page.get_by_label("五绝").check()
        page.get_by_role("button", name="Write").click()
        page.get_by_text("no 五绝 begins with 白日依山盡黃").first.wait_for()
        assert page.get_by_role("status").inner_text().startswith("no 五绝")


CONTRAST = """() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = channels(color).map(c => c / 255).map(
      c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const color = getComputedStyle(element).backgroundColor;
    return channels(color)[3] === 0 ? ground(element.parentElement) : color;
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!text || !element.checkVisibility()) continue;
    const pair = [light(getComputedStyle(element).color), light(ground(element))].sort();
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) poor.push([element.tagName, element.textContent, ratio]);
  }
  return poor;
}"""
"""Texts whose contrast is below 4.5 : 1 (WCAG 2.2, success criterion 1.4.3)."""


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(scheme: Any) -> None:
    with opened(Scripted("山" * 100, POEM)) as page:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": 320, "height": 640})
        page.get_by_text("Sampling").click()
        page.get_by_role("spinbutton", name="poems").fill("2")
        page.get_by_role("button", name="Write").click()
        page.get_by_text("Done: 2").wait_for()
        for language in ("English", "中文"):
            page.get_by_role("button", name=language).click()
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            assert page.evaluate(CONTRAST) == []
