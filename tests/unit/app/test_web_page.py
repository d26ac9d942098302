"""The page that `nanopoet serve` opens, in a real browser."""

import math
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nanopoet.evaluation.perplexity import meaning_in_chinese
from nanopoet.models.checkpoint import save_model
from tests.support import browser
from tests.support.browser import needs_chromium
from tests.support.models import tiny_model
from tests.support.web import LONG, POEM, Scripted, ask, finetuned_writer, opened, served

pytestmark = pytest.mark.process


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
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
            page.get_by_role("button", name="Write", exact=True).click()
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


@needs_chromium
def test_the_page_says_how_unsure_its_model_is() -> None:
    writer = finetuned_writer()
    writer.folder, writer.nats = "models/finetuned", math.log(100)
    with opened(writer) as page:
        assert page.locator("footer").inner_text() == (
            "Written by the model in models/finetuned; on validation poems it had perplexity 100: "
            "as unsure as among 100 equally likely characters"
        )
        page.get_by_role("button", name="中文").click()
        assert page.locator("footer").inner_text().endswith(meaning_in_chinese(math.log(100)))


@needs_chromium
def test_a_poem_streams_in_and_is_marked() -> None:
    writer = Scripted(POEM)
    writer.may_go_on.clear()
    with opened(writer) as page:
        page.get_by_label("How it begins").fill("白日依山盡，黃")
        page.get_by_role("button", name="Write", exact=True).click()
        page.locator("article[aria-busy] p:nth-child(2)").wait_for()
        shown = [text.split() for text in page.locator("article p").all_inner_texts()]
        assert ["".join(text) for text in shown] == ["白日依山盡", "黃"]
        writer.may_go_on.set()
        page.get_by_text("Done: 1").wait_for()
        assert page.locator("article[aria-busy]").count() == 0
        rhymes = page.locator("article ruby.rhyme:not(.broken)")
        assert [text[0] for text in rhymes.all_inner_texts()] == ["流", "樓"]
        assert rhymes.first.get_attribute("title") == "下平聲十一尤"
        told = page.locator("article > p").inner_text()
        assert told == "五绝 · rhymes · tones regular · 下平聲十一尤"
        spoken = page.locator("article > .hidden p").all_text_contents()
        assert spoken[0] == "白日依山盡（仄仄平平仄）"
        assert page.locator("article .poem").get_attribute("lang") == "zh-Hant"


@needs_chromium
def test_it_is_all_there_with_the_keyboard_alone() -> None:
    with opened(Scripted(POEM)) as page:
        seen = []
        for _ in range(13):
            page.keyboard.press("Tab")
            seen.append(
                page.evaluate("document.activeElement.innerText || document.activeElement.name")
            )
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
            if seen[-1] == "Sampling":
                break
        wishes = ["form", "opening", "acrostic", "rhyme", "keywords", "keep_rules"]
        assert seen == ["English", "中文", *wishes, "More wishes", "Sampling"]
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
        assert "押韵 · 平仄合律" in text
        known = {"temperature", "top-p", "top-k", "seed", "make", "finetune"}
        assert set(re.findall("[A-Za-z-]{2,}", text)) <= known
        page.get_by_role("button", name="English").click()
        page.get_by_text("Done: 1").wait_for()
        assert "押韵" not in page.inner_text("body")


@needs_chromium
def test_it_says_what_went_wrong_and_takes_text_for_text() -> None:
    with opened(Scripted("<b id=x>&，", LONG)) as page:
        page.get_by_role("button", name="Write", exact=True).click()
        page.get_by_text("Done: 1").wait_for()
        assert page.locator("#x").count() == 0
        assert page.locator("article ruby").first.inner_text().replace("\n", "") == "<?"
        page.get_by_text("Sampling").click()
        page.get_by_role("spinbutton", name="poems").fill("99")
        page.get_by_text("Sampling").click()
        page.get_by_role("button", name="Write", exact=True).click()
        page.get_by_role("spinbutton", name="poems").wait_for()  # shown, as it is the one to fix
        assert page.evaluate("document.activeElement.name") == "count"


@needs_chromium
def test_a_refusal_is_shown() -> None:
    with served(finetuned_writer()) as address, browser.page() as (page, _):
        page.goto(address)
        page.get_by_label("Acrostic").fill("山水月")
        page.get_by_label("五绝").check()
        page.get_by_role("button", name="Write", exact=True).click()
        page.get_by_text("acrostic = 山水月 has 3 characters").first.wait_for()
        status = page.locator("#status")
        assert status.inner_text().endswith("give one for each line, 4")
        page.get_by_role("button", name="中文").click()
        assert status.inner_text() == "藏头“山水月”有 3 个字：每句一个，应为 4 个"
        page.get_by_label("藏头").fill("")
        page.get_by_label("必含词语").fill("山 水 月 春 花 秋 夜")  # more than a field can limit
        page.get_by_role("button", name="写诗").click()
        page.get_by_text("必含词语太多：最多 6 个").wait_for()
        assert not re.search("[A-Za-z]", status.inner_text())


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
        page.get_by_text("More wishes").click()
        page.get_by_text("Sampling").click()
        page.get_by_role("spinbutton", name="poems").fill("2")
        page.get_by_role("button", name="Write", exact=True).click()
        page.get_by_text("Done: 2").wait_for()
        assert page.locator("#status").is_visible()
        for language in ("English", "中文"):
            page.get_by_role("button", name=language).click()
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            assert page.evaluate(CONTRAST) == []
