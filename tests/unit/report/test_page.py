"""The report: self-contained, the same figures as the metrics, readable in a browser."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import pytest
from playwright.sync_api import Page

from nanopoet.evaluation.perplexity import meaning
from nanopoet.prosody.annotate import Mark, mark
from nanopoet.report.page import MEASURES
from tests.support import browser
from tests.support.project import Project

pytestmark = pytest.mark.process

needs_chromium = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no Chromium here: Debian's package `chromium` has it"
)


REPORTS = {
    "index": "evaluate",
    "finetuned": "evaluate_finetuned",
    "reinforced": "evaluate_reinforced",
}
"""Report → metrics of its model."""
every_report = pytest.mark.parametrize("report", REPORTS)


def _page(project: Project, report: str = "index") -> str:
    return (project.folder / f"report/{report}.html").read_text(encoding="utf-8")


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


@every_report
def test_it_is_whole_and_needs_nothing_else(project: Project, report: str) -> None:
    page, links = _page(project, report), _Links()
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
    for name, (_, chinese, _) in MEASURES.items():
        assert (chinese in text) == (name != "reader_model")
    shares = [evaluate["verse"][source]["regular"] for source in ("model", "human", "ngram")]
    cells = r"\s+".join(f"{100 * share:.1f}%" for share in shares)
    assert re.search(rf"in a regular form\s+絕句、律詩\s+↑\s+{cells}", text)


@every_report
def test_it_says_what_the_perplexity_means(project: Project, report: str) -> None:
    nats = project.metrics(REPORTS[report])["nats_per_character"]
    assert meaning(nats) in _page(project, report)


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
@every_report
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(project: Project, report: str, scheme: Any) -> None:
    with _opened(project, report) as page:
        page.emulate_media(color_scheme=scheme)
        background, ink, chart = _colors(page)
        assert _lightness(ink) == pytest.approx(_lightness(chart))
        assert abs(_lightness(background) - _lightness(ink)) > 150
        assert (_lightness(background) < 128) == (scheme == "dark")
        assert page.locator("ruby.rhyme").count() == page.locator("ruby[title]").count()


@needs_chromium
@every_report
def test_a_phone_shows_it_without_scrolling_aside(project: Project, report: str) -> None:
    """A table that is wider than a narrow screen scrolls in its own box, the page does not."""
    with _opened(project, report) as page:
        for width in (320, 390, 1200):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for figure in page.locator("figure").all():
                box = figure.locator("svg").bounding_box()
                assert box
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width


@needs_chromium
@every_report
def test_paper_shows_it_dark_on_white_and_cuts_nothing(project: Project, report: str) -> None:
    """A4 without margins of 15 mm is 680 pixels wide."""
    with _opened(project, report) as page:
        page.emulate_media(media="print", color_scheme="dark")
        page.set_viewport_size({"width": 680, "height": 1000})
        background, ink, chart = _colors(page)
        assert background == "rgba(0, 0, 0, 0)"
        assert max(_lightness(ink), _lightness(chart)) < 60
        assert page.evaluate("document.documentElement.scrollWidth") <= 680
        cut = "getComputedStyle(e).overflowX != 'visible' && e.scrollWidth > e.clientWidth"
        elements = "[...document.querySelectorAll('figure, .scroll, table, .side')]"
        assert page.evaluate(f"{elements}.filter(e => {cut}).length") == 0
        broken = "getComputedStyle(e).breakInside != 'avoid'"
        whole = "[...document.querySelectorAll('figure, tr, .poem')]"
        assert page.evaluate(f"{whole}.filter(e => {broken}).length") == 0


@needs_chromium
@every_report
def test_each_chart_has_a_name_and_its_figures_as_text(project: Project, report: str) -> None:
    """The names and descriptions are those that a screen reader gets."""
    with _opened(project, report) as page:
        tree = page.context.new_cdp_session(page)
        nodes = tree.send("Accessibility.getFullAXTree")["nodes"]
        images = [node for node in nodes if node.get("role", {}).get("value") == "image"]
        assert len(images) == page.locator("figure svg").count() > 0
        for image in images:
            assert image["name"]["value"]
            assert len(re.findall(r"\d", image["description"]["value"])) >= 4


@contextmanager
def _opened(project: Project, report: str) -> Iterator[Page]:
    """Open a report in a browser without a network, which must not complain."""
    with browser.page() as (page, elsewhere):
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.context.set_offline(True)
        page.goto((project.folder / f"report/{report}.html").as_uri())
        yield page
        assert problems == []
        assert elsewhere == []


def _colors(page: Page) -> list[str]:
    """Return the colours of the background, of text and of text in a chart."""
    colors: list[str] = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, "
        "getComputedStyle(document.querySelector('figure svg text')).fill]"
    )
    return colors


def _lightness(color: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3
