"""The report: self-contained, the same figures as the metrics, readable in a browser."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from nanopoet.prosody.annotate import Mark, mark
from nanopoet.report.page import MEASURES
from tests.support import browser
from tests.support.project import Project

pytestmark = pytest.mark.process

needs_chromium = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no Chromium here: Debian's package `chromium` has it"
)


def _page(project: Project) -> str:
    return (project.folder / "report/index.html").read_text(encoding="utf-8")


class _Links(HTMLParser):
    """Everything that a browser would fetch, and the tags left open."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "data", "srcset"}:
                self.fetched.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_whole_and_needs_nothing_else(project: Project) -> None:
    page, links = _page(project), _Links()
    links.feed(page)
    assert links.open == []
    assert links.fetched == []
    assert "<script" not in page
    assert not re.search(r"url\((?!#)|@import", page)


def test_it_has_the_figures_of_the_metrics(project: Project) -> None:
    page, evaluate = _page(project), project.metrics("evaluate")
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", page, flags=re.S)
    for value in (evaluate["nats_per_character"], evaluate["nats_per_hanzi"]):
        assert f"{value:.3f}" in text
    for name, row in project.metrics("baseline").items():
        assert re.search(
            rf"{name.replace('kneser_ney_', 'Kneser–Ney ')}\s+{row['nats_per_character']:.3f}\s",
            text,
        )
    for _, chinese, _ in MEASURES.values():
        assert chinese in text
    shares = [evaluate["verse"][source]["regular"] for source in ("model", "human", "ngram")]
    cells = r"\s+".join(f"{100 * share:.1f}%" for share in shares)
    assert re.search(rf"in a regular form\s+絕句、律詩\s+↑\s+{cells}", text)


def test_it_shows_the_poems_that_the_measures_chose(project: Project) -> None:
    page = re.sub(r"<rt>.*?</rt>|<[^>]+>|\s", "", _page(project))
    examples = json.loads((project.folder / "data/examples.json").read_text(encoding="utf-8"))
    shown = [poem["text"] for chosen in examples.values() for poem in chosen.values()]
    assert len(shown) >= 3
    for text in shown:
        assert text.replace("，", "").replace("。", "") in page


def test_what_a_corpus_brings_is_no_markup() -> None:
    """Characters of a user's own corpus are text in the page, whatever they are."""
    [[first, *_]] = mark("<b>&。")
    assert first["text"] == "<"
    assert first["mark"] == "?"


@pytest.mark.parametrize(
    ("text", "rhymes"),
    [
        ("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。", "流樓"),
        ("知否，知否，應是綠肥紅瘦。", ""),
        ("", ""),
    ],
)
def test_rhymes_are_marked_where_they_are_asked_for(text: str, rhymes: str) -> None:
    marked: list[list[Mark]] = mark(text)
    assert "".join(c["text"] for row in marked for c in row if c["rhyme"]) == rhymes
    assert all(c["held"] for row in marked for c in row if c["rhyme"])


def test_a_rhyme_that_fails_is_told_from_one_that_holds() -> None:
    marked = mark("白日依山盡，黃河入海流。欲窮千里目，更上一層城。")
    assert not any(c["held"] for row in marked for c in row)


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_shows_it(project: Project, scheme: Any, width: int) -> None:
    with browser.page() as (page, elsewhere):
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.context.set_offline(True)
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        page.goto((project.folder / "report/index.html").as_uri())
        assert page.locator("figure svg").count() == 4
        colors = page.evaluate(
            "[document.body, document.querySelector('svg text')].map(e => getComputedStyle(e))"
            ".flatMap(s => [s.backgroundColor, s.color, s.fill])"
        )
        background, ink, chart = colors[0], colors[1], colors[5]
        assert _lightness(ink) == pytest.approx(_lightness(chart))
        assert abs(_lightness(background) - _lightness(ink)) > 150
        assert (_lightness(background) < 128) == (scheme == "dark")
        # What is wider than the screen scrolls in its own box, the page does not.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("ruby.rhyme").count() == page.locator("ruby[title]").count()
    assert problems == []
    assert elsewhere == []


def _lightness(color: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3
