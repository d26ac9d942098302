"""A request on the page of `nanopoet serve`, in a real browser: asked for, rewritten, linked."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page

from nanopoet.prosody.rules import Verse
from tests.support.browser import needs_chromium
from tests.support.web import finetuned_writer, opened, pretrained_writer, served

pytestmark = [pytest.mark.process, needs_chromium]


@pytest.fixture(scope="module")
def window() -> Iterator[tuple[Page, str]]:
    with opened(finetuned_writer()) as page:
        yield page, page.url


@pytest.fixture
def page(window: tuple[Page, str]) -> Page:
    """The page with an empty form and a model that takes authors, tunes and titles."""
    page, address = window
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(address)
    return page


def lines_of(page: Page) -> list[str]:
    """Return the lines of the poem that is shown, without the signs for tones."""
    spoken = page.locator("article > .hidden p").all_text_contents()
    return [line.partition("（")[0] for line in spoken]


def write(page: Page) -> list[str]:
    page.get_by_role("button", name="Write", exact=True).click()
    page.get_by_text("Done: 1").wait_for()
    return lines_of(page)


def test_what_is_filled_in_is_what_comes(page: Page) -> None:
    page.get_by_label("五绝").check()
    page.get_by_label("In the style of").fill("李白")
    page.get_by_label("Title").fill("静夜思")
    page.get_by_label("Acrostic").fill("山月？天")
    page.get_by_label("Words that must occur").fill("水 春花")
    page.get_by_label("Keep the rules").check()
    lines = write(page)
    verse = Verse.of("，".join(lines) + "。")
    assert (verse.form, verse.rhyme, verse.regulated) == ("五言绝句", True, True)
    assert [lines[i][0] for i in (0, 1, 3)] == ["山", "月", "天"]
    assert "水" in "".join(lines)
    assert any("春花" in line for line in lines)
    note = "title = 静夜思 was understood as 靜夜思"
    assert page.locator("#notes").inner_text() == note
    page.get_by_label("五绝").focus()
    page.get_by_role("radio", name="tune").check()
    page.get_by_role("combobox", name="Tune").fill("小令")
    for name in ("Acrostic", "Words that must occur"):
        page.get_by_label(name).fill("")
    page.get_by_label("Keep the rules").uncheck()  # three poems do not tell the rhymes of a tune
    assert [len(line) for line in write(page)] == [2, 2]
    assert page.locator("article > p").inner_text() == "小令"


def options(page: Page) -> Locator:
    return page.get_by_role("option")


def test_an_author_is_found_with_the_keyboard(page: Page) -> None:
    author = page.get_by_role("combobox", name="In the style of")
    author.press_sequentially("苏")
    options(page).first.wait_for()
    assert author.get_attribute("aria-expanded") == "true"
    texts = [text.replace("\n", " ") for text in options(page).all_inner_texts()]
    assert texts == ["蘇軾 4 poems", "蘇轍 2 poems"]
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    chosen = page.locator(f"#{author.get_attribute('aria-activedescendant')}")
    assert chosen.get_attribute("aria-selected") == "true"
    page.keyboard.press("Enter")
    assert author.input_value() == "蘇轍"
    assert options(page).count() == 0
    assert page.locator("article").count() == 0  # Enter chose, and sent nothing
    author.fill("")
    page.keyboard.press("ArrowDown")
    options(page).first.wait_for()
    page.keyboard.press("Escape")
    assert author.get_attribute("aria-expanded") == "false"
    author.fill("李")
    options(page).first.click()
    assert author.input_value() == "李白"
    page.keyboard.press("Enter")
    page.get_by_text("Done: 1").wait_for()
    assert "author=%E6%9D%8E%E7%99%BD" in page.url


def test_an_input_method_is_left_alone(page: Page) -> None:
    """While it composes, nothing is searched, and its Enter does not send the request."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    author = page.get_by_role("combobox", name="In the style of")
    author.focus()
    method = page.context.new_cdp_session(page)
    for text in ("s", "su"):
        composition = {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
        method.send("Input.imeSetComposition", composition)
    author.dispatch_event("keydown", {"key": "Enter", "keyCode": 229})
    key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229, "text": "\r"}
    method.send("Input.dispatchKeyEvent", {"type": "keyDown", **key})
    page.wait_for_timeout(400)
    assert author.input_value() == "su"
    assert asked == []
    method.send("Input.insertText", {"text": "苏"})
    options(page).first.wait_for()
    assert author.input_value() == "苏"
    assert [url.rpartition("/")[2] for url in asked] == ["authors?search=%E8%8B%8F"]


def test_a_character_or_a_line_is_rewritten_and_nothing_else(page: Page) -> None:
    page.get_by_label("七绝").check()
    page.get_by_label("Acrostic").fill("山月天年")
    page.get_by_label("Keep the rules").check()
    before = write(page)
    page.get_by_role("row").nth(1).get_by_role("gridcell").nth(2).click()
    page.get_by_text(re.compile("Rewrote line 2, character 3")).wait_for()
    after = lines_of(page)
    was, now = before[1][2], after[1][2]
    assert was != now
    assert page.locator("#status").inner_text() == f"Rewrote line 2, character 3: {was} → {now}"
    assert after == [before[0], before[1][:2] + now + before[1][3:], *before[2:]]
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused).startswith(now)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused).startswith(after[2][2])
    page.keyboard.press("End")
    page.keyboard.press("Enter")  # on the button of the line
    page.get_by_text(re.compile("Rewrote line 3: ")).wait_for()
    last = lines_of(page)
    assert last[2] != after[2]
    assert last[2][0] == "天"  # a line keeps its place in the acrostic
    assert last[:2] + last[3:] == after[:2] + after[3:]
    verse = Verse.of("，".join(last) + "。")
    assert (verse.rhyme, verse.regulated) == (True, True)
    page.keyboard.press("Tab")  # the whole poem is one stop
    assert page.evaluate("!document.activeElement.closest('article')")


def test_a_draft_leaves_out_quotes_pauses_and_invisible_characters(page: Page) -> None:
    """They stand in no line, and the server refuses them in a draft."""
    text = "「山·光」，水\u200b月。"
    assert page.evaluate("text => draftOf({ text }, [1])", text) == "■光，水月。"


def test_a_link_carries_the_request(page: Page) -> None:
    page.get_by_label("五绝").check()
    page.get_by_label("In the style of").fill("蘇軾")
    page.get_by_label("Words that must occur").fill("水，月")
    page.get_by_label("Keep the rules").check()
    page.get_by_text("Sampling").click()
    page.get_by_role("spinbutton", name="temperature").fill("0.9")
    lines = write(page)
    link = page.url
    assert re.fullmatch(
        r"form=[%\w]+&author=[%\w]+&keywords=[%\w]+\+[%\w]+&keep_rules=true"
        r"&temperature=0.9&seed=\d+",
        link.partition("?")[2],
    )
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("The link is copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.goto("about:blank")
    page.goto(link)
    page.get_by_text("Done: 1").wait_for()
    assert lines_of(page) == lines
    assert page.get_by_label("In the style of").input_value() == "蘇軾"
    assert page.get_by_label("Words that must occur").input_value() == "水 月"
    assert page.get_by_label("Keep the rules").is_checked()
    assert page.get_by_role("spinbutton", name="temperature").input_value() == "0.9"
    assert page.url == link


def test_a_link_to_a_tune_opens_its_field(page: Page) -> None:
    page.goto(f"{page.url}?form=小令&elsewhere=1&count=2")
    page.get_by_text("Done: 2").wait_for()
    assert page.get_by_role("combobox", name="Tune").input_value() == "小令"
    assert page.locator("article").count() == 2


def test_a_phone_shows_it_without_scrolling_aside(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 700})
    page.get_by_label("七律").check()
    page.get_by_text("More wishes").click()
    page.get_by_text("Sampling").click()
    write(page)
    for language in ("中文", "English"):
        page.get_by_role("button", name=language).click()
        page.get_by_role("combobox").first.fill("")
        page.keyboard.press("ArrowDown")
        options(page).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.keyboard.press("Escape")
    box = page.get_by_role("gridcell").first.bounding_box()
    assert box
    assert min(box["width"], box["height"]) >= 24  # WCAG 2.2, success criterion 2.5.8


def test_a_pretrained_model_says_what_it_lacks(page: Page) -> None:
    with served(pretrained_writer()) as address:
        page.goto(address)
        for name in ("In the style of", "Title"):
            field = page.get_by_label(name)
            assert field.is_disabled()
            reason = page.locator(f"#{field.get_attribute('aria-describedby')}")
            assert "make finetune" in reason.inner_text()
        assert page.get_by_role("radio", name="tune").is_disabled()
        page.get_by_label("五绝").check()
        page.get_by_label("Keep the rules").check()
        assert [len(line) for line in write(page)] == [5] * 4
